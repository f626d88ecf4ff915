import { decode } from './decode.ts';
import { Findings } from './findings.ts';
import { noteIgnoredByRollback } from './ignored.ts';
import { judgeCommon, nodeSelectorOf } from './judge-common.ts';
import { judgeContainer } from './judge-container.ts';
import { INSECURE_ADDRESS, judgeDisk } from './judge-disk.ts';
import { locateSpec } from './locate.ts';
import { likelyMeant } from './names.ts';
import { parseYaml } from './parse.ts';
import { readShape, type SpecView } from './shape.ts';
import { SourceText } from './source-text.ts';
import type { OSSpec, UpgradeSpec, ValidationResult } from './spec.ts';

/**
 * Checks a spec: all that is wrong with it, each with its place in the file and how to mend it, or the spec itself.
 * Never throws, whatever the text.
 * @param text the file's bytes, or its text
 * @param file the name that diagnostics show
 */
export function validateSpec(text: string | Uint8Array, file: string): ValidationResult {
  const decoded = decode(text);
  const findings = new Findings(new SourceText(decoded.text));
  if ('rule' in decoded) {
    findings.error(decoded.rule, [decoded.offset, decoded.offset + 1], decoded.message, decoded.mend);
    return { file, diagnostics: findings.list() };
  }
  const spec = specOf(findings);
  const diagnostics = findings.list();
  if (spec === undefined) return { file, diagnostics };
  const { errors } = findings;
  if (errors.length === 0) return { file, spec, diagnostics };
  const onlyInsecure = errors.every(({ rule }) => rule === INSECURE_ADDRESS);
  return spec.opstype === 'upgrade' && onlyInsecure ? { file, insecureSpec: spec, diagnostics } : { file, diagnostics };
}

/** What the file says, where nothing that the spec is made of is missing or wrong. */
function specOf(findings: Findings): OSSpec | undefined {
  const documents = parseYaml(findings.source, findings);
  const located = documents && locateSpec(documents, findings);
  if (located === undefined) return undefined;
  const view = readShape(located, findings);
  judgeCommon(view, findings);
  const { opstype, osversion, maxunavailable, evictpodforce } = view.values;
  const image = imageOf(view, findings);
  if (opstype === 'rollback') noteIgnoredByRollback(view, findings);
  if (osversion === undefined || maxunavailable === undefined) return undefined;
  const common = {
    osversion,
    maxunavailable,
    evictpodforce: evictpodforce === true,
    nodeselector: nodeSelectorOf(view),
  };
  if (opstype === 'rollback') return { opstype, ...common };
  return opstype === undefined || image === undefined ? undefined : { opstype, ...common, image };
}

type ImageType = UpgradeSpec['image']['type'];

/** Where opstype or imagetype is wrong, the image is judged as was likely meant, so that one look shows all mistakes. */
function imageOf(view: SpecView, findings: Findings): UpgradeSpec['image'] | undefined {
  const { opstype = view.entry('opstype')?.raw ?? '', imagetype } = view.values;
  if (/^roll/i.test(opstype)) return undefined;
  const isConfig = /^config/i.test(opstype);
  if (imagetype === '' && !isConfig) {
    const mend = 'write: imagetype: disk (or docker, or containerd)';
    findings.error('type', view.at('imagetype'), 'imagetype may be empty in a rollback only', mend);
  }
  const type = typeOf(view);
  // Whoever changes settings need not name an image.
  if (type === undefined || (isConfig && !namesImage(view, type))) return undefined;
  return type === 'disk' ? judgeDisk(view, findings) : judgeContainer(type, view, findings);
}

function typeOf(view: SpecView): ImageType | undefined {
  const { imagetype } = view.values;
  if (imagetype !== undefined && imagetype !== '') return imagetype;
  const meant = likelyMeant(view.entry('imagetype')?.raw ?? '', ['disk', 'docker', 'containerd']);
  const named = (['disk', 'docker'] as const).filter((type) => namesImage(view, type));
  if (meant === undefined) return named.length === 1 ? named[0] : undefined;
  return named.length === 0 || namesImage(view, meant) ? meant : undefined;
}

function namesImage({ values }: SpecView, type: ImageType): boolean {
  const names = type === 'disk' ? [values.imageurl] : [values.dockerimage, values.containerimage];
  return names.some((name) => name !== undefined && name !== '');
}
