import * as z from 'zod';
import type { SpecField } from './names.ts';

const text = z.string();
const flag = z.boolean();

/**
 * The shape of a spec: which fields must be there, and the type of each. What the values mean together is judged by the
 * rules. Optional fields may be null, since Kubernetes drops such fields. `dockerimage` and `containerimage` are two
 * names of one mandatory field, which the rules see to.
 */
export const specSchema = z.object({
  imagetype: z.enum(['docker', 'disk', 'containerd', '']),
  opstype: z.enum(['upgrade', 'rollback']),
  osversion: text,
  maxunavailable: z.int().min(1),
  dockerimage: text.optional(),
  containerimage: text.optional(),
  imageurl: text,
  checksum: text,
  flagSafe: flag,
  mtls: flag,
  cacert: text.nullish(),
  clientcert: text.nullish(),
  clientkey: text.nullish(),
  evictpodforce: flag.nullish(),
  nodeselector: text.nullish(),
  timewindow: z.unknown().optional(),
  timeinterval: z.int().nullish(),
  executionmode: z.enum(['parallel', 'serial', '']).nullish(),
  sysconfigs: z.unknown().optional(),
  upgradeconfigs: z.unknown().optional(),
} satisfies Record<SpecField, z.ZodType>);

/** The fields whose shape is right. */
export type SpecValues = Partial<z.infer<typeof specSchema>>;

export type FieldKind = 'text' | 'flag' | 'number' | 'choice';

/** What a field holds, for the messages. */
export const FIELD_KINDS: Readonly<Record<SpecField, FieldKind>> = {
  imagetype: 'choice',
  opstype: 'choice',
  osversion: 'text',
  maxunavailable: 'number',
  dockerimage: 'text',
  containerimage: 'text',
  imageurl: 'text',
  checksum: 'text',
  flagSafe: 'flag',
  mtls: 'flag',
  cacert: 'text',
  clientcert: 'text',
  clientkey: 'text',
  evictpodforce: 'flag',
  nodeselector: 'text',
  timewindow: 'text',
  timeinterval: 'number',
  executionmode: 'choice',
  sysconfigs: 'text',
  upgradeconfigs: 'text',
};
