import { isObject, textAt, type Json, type JsonObject } from './objects.ts';
import { badRequest } from './status-errors.ts';

/**
 * Reads the few bodies that newer kubectls (1.32 on) send as protobuf whatever discovery says, and writes the one
 * document that older ones read only so. Field numbers are those of Kubernetes' generated.proto files.
 */
type Field = readonly [name: string, type: FieldType];
type FieldType =
  'string' | 'int' | 'bool' | 'strings' | 'map' | 'int-or-string' | 'skip' | Message | readonly [Message];
interface Message {
  readonly [number: number]: Field;
}

const META: Message = {
  ...{ 1: ['name', 'string'], 2: ['generateName', 'string'], 3: ['namespace', 'string'], 5: ['uid', 'string'] },
  ...{ 6: ['resourceVersion', 'string'], 8: ['creationTimestamp', 'skip'], 11: ['labels', 'map'] },
  ...{ 12: ['annotations', 'map'], 14: ['finalizers', 'strings'] },
};
const SELECTOR: Message = { 1: ['matchLabels', 'map'] };
const CONTAINER: Message = {
  1: ['name', 'string'],
  2: ['image', 'string'],
  3: ['command', 'strings'],
  8: ['resources', 'skip'],
};
const RESOURCE: Message = {
  ...{ 1: ['namespace', 'string'], 2: ['verb', 'string'], 3: ['group', 'string'], 4: ['version', 'string'] },
  ...{ 5: ['resource', 'string'], 6: ['subresource', 'string'], 7: ['name', 'string'] },
};
const ACCESS: Message = {
  1: ['resourceAttributes', RESOURCE],
  2: ['nonResourceAttributes', { 1: ['path', 'string'], 2: ['verb', 'string'] }],
};
const object = (spec: Message): Message => ({ 1: ['metadata', META], 2: ['spec', spec], 3: ['status', 'skip'] });

const MESSAGES: Readonly<Record<string, Message>> = {
  Namespace: object({ 1: ['finalizers', 'strings'] }),
  PodDisruptionBudget: object({
    ...{ 1: ['minAvailable', 'int-or-string'], 2: ['selector', SELECTOR], 3: ['maxUnavailable', 'int-or-string'] },
    ...{ 4: ['unhealthyPodEvictionPolicy', 'string'] },
  }),
  Deployment: object({
    ...{ 1: ['replicas', 'int'], 2: ['selector', SELECTOR], 4: ['strategy', 'skip'] },
    3: [
      'template',
      { 1: ['metadata', META], 2: ['spec', { 2: ['containers', [CONTAINER]], 14: ['securityContext', 'skip'] }] },
    ],
  }),
  SelfSubjectAccessReview: object(ACCESS),
  SelfSubjectRulesReview: object({ 1: ['namespace', 'string'] }),
  SelfSubjectReview: { 1: ['metadata', META], 2: ['status', 'skip'] },
  DeleteOptions: {
    ...{ 1: ['gracePeriodSeconds', 'int'], 3: ['orphanDependents', 'bool'], 4: ['propagationPolicy', 'string'] },
    ...{ 2: ['preconditions', { 1: ['uid', 'string'], 2: ['resourceVersion', 'string'] }], 5: ['dryRun', 'strings'] },
  },
};

const MAGIC = Buffer.from('k8s\0');

/** Reads a body of the type application/vnd.kubernetes.protobuf; throws the 400 of a server that cannot. */
export function readProtobuf(body: Buffer): Json {
  if (!body.subarray(0, 4).equals(MAGIC)) throw badRequest('the body is not a Kubernetes protobuf message');
  const envelope = [...fields(body.subarray(4))];
  const header = envelope.find(({ number }) => number === 1)?.bytes ?? Buffer.alloc(0);
  const raw = envelope.find(({ number }) => number === 2)?.bytes ?? Buffer.alloc(0);
  const type = decode(header, { 1: ['apiVersion', 'string'], 2: ['kind', 'string'] });
  const kind = typeof type['kind'] === 'string' ? type['kind'] : '';
  const message = MESSAGES[kind];
  if (message === undefined) throw badRequest(`the lab reads no ${kind} as protobuf; send it as application/json`);
  return { ...type, ...decode(raw, message) };
}

interface RawField {
  number: number;
  value: number;
  bytes: Buffer;
}

function* fields(data: Buffer): Generator<RawField> {
  let offset = 0;
  const varint = (): number => {
    let [result, scale] = [0, 1];
    for (;;) {
      const byte = data[offset++];
      if (byte === undefined) throw badRequest('the protobuf message is cut short');
      result += (byte & 0x7f) * scale;
      if (byte < 0x80) return result;
      scale *= 128;
    }
  };
  while (offset < data.length) {
    const tag = varint();
    const [number, wire] = [Math.floor(tag / 8), tag % 8];
    if (wire !== 0 && wire !== 2) throw badRequest(`the lab reads no protobuf wire type ${wire}`);
    const value = varint();
    const bytes = wire === 2 ? data.subarray(offset, offset + value) : Buffer.alloc(0);
    if (wire === 2) offset += value;
    yield { number, value, bytes };
  }
}

function decode(data: Buffer, message: Message): JsonObject {
  const result: JsonObject = {};
  for (const { number, value, bytes } of fields(data)) {
    const field = message[number];
    if (field === undefined) {
      // The encoder writes most fields even where they are empty: only a field that says something is refused.
      if (value === 0) continue;
      throw badRequest(`the lab does not know protobuf field ${number}; send application/json`);
    }
    const [name, type] = field;
    const decoded = decodeField(type, value, bytes, result[name]);
    if (decoded !== undefined && decoded !== '') result[name] = decoded;
  }
  return result;
}

function decodeField(type: FieldType, value: number, bytes: Buffer, before: Json | undefined): Json | undefined {
  if (isList(type)) return [...(Array.isArray(before) ? before : []), decode(bytes, type[0])];
  if (typeof type === 'object') return decode(bytes, type);
  return DECODERS[type](value, bytes, before);
}

const isList = (type: FieldType): type is readonly [Message] => Array.isArray(type);

type Decoder = (value: number, bytes: Buffer, before: Json | undefined) => Json | undefined;

const DECODERS: Readonly<Record<Extract<FieldType, string>, Decoder>> = {
  string: (_value, bytes) => bytes.toString('utf8'),
  int: (value) => value,
  bool: (value) => value === 1,
  skip: () => undefined,
  strings: (_value, bytes, before) => [...(Array.isArray(before) ? before : []), bytes.toString('utf8')],
  map: (_value, bytes, before) => {
    const entry = decode(bytes, { 1: ['key', 'string'], 2: ['value', 'string'] });
    return { ...(isObject(before) ? before : {}), [textAt(entry, 'key')]: textAt(entry, 'value') };
  },
  'int-or-string': (_value, bytes) => {
    const either = decode(bytes, { 1: ['type', 'int'], 2: ['int', 'int'], 3: ['text', 'string'] });
    return (either['type'] === 1 ? either['text'] : either['int']) ?? 0;
  },
};

/** One length-delimited field: a string, or a message that `protobuf` wrote. */
export const field = (number: number, content: string | Buffer): Buffer => {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return Buffer.concat([varintOf(number * 8 + 2), varintOf(bytes.length), bytes]);
};

export const message = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts);

function varintOf(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}
