import type { ServerOptions } from 'node:https';
import type { Pki } from '../../src/lab/pki.ts';
import type { Answering } from './image-server.ts';

/** The ways on which an image is fetched: by a tool of the node's, or by kubeos itself. */
export type Fetcher = 'curl' | 'wget' | 'kubeos';

/** A server, or what stands before it, that does not simply deliver; each way must end well, or in its own words. */
export interface BadServer {
  name: string;
  /** Made anew for each download. @param insecure another server, by http, that serves the image */
  answer: (image: Buffer, insecure: string) => Answering;
  /** Whether it is reached by https, and with which certificate. */
  certificate?: 'good' | 'expired' | 'early' | 'strange' | 'named otherwise' | 'mutual';
  /** What the failure says; missing where the image arrives whole. A way that can tell less has words of its own. */
  words?: string | Readonly<Record<Fetcher, string>>;
  /** How a step on the node ends then. */
  ended?: 'download-failed' | 'checksum-mismatch';
  /** Only where a test makes the patience short. */
  stalls?: boolean;
}

/** One table for every way: what may go wrong between a server and who fetches from it. */
export const BAD_SERVERS: readonly BadServer[] = [
  { name: 'a server without ranges that breaks off once', answer: (image) => cutOnce(image, whole(image)) },
  { name: 'a server that breaks off again and again, but goes on', answer: cutOften },
  { name: 'another image at first, broken off: its ETag changes', answer: changing },
  { name: 'a server that answers 200 with the rest of a range', answer: (image) => cutOnce(image, wrongRange(image)) },
  { name: 'a server that has a problem of its own at first', answer: (image) => first(status(503), ranged(image)) },
  {
    name: 'a body that always ends too early',
    answer: (image) => (request, response) => {
      if (request.method === 'HEAD') ranged(image)(request, response);
      else cut(image, 0, 0)(request, response);
    },
    words: 'ended the transfer too early',
    ended: 'download-failed',
  },
  {
    name: 'a body without end',
    answer: endless,
    words: 'the server sends more than it announced',
    ended: 'download-failed',
  },
  {
    name: 'a captive portal, which answers 200 with a web page',
    answer: () => (_, response) => response.writeHead(200, { 'Content-Length': PAGE.length }).end(PAGE),
    words: 'what came is a web page',
    ended: 'checksum-mismatch',
  },
  {
    name: 'another image of the same size',
    answer: (image) => ranged(otherOf(image)),
    words: 'the SHA-256 is ',
    ended: 'checksum-mismatch',
  },
  {
    name: 'no size',
    answer: () => (_, response) => response.writeHead(200, { 'Transfer-Encoding': 'chunked' }).end('x'),
    words: 'does not say how big the image is',
    ended: 'download-failed',
  },
  { name: 'no such file', answer: () => status(404), words: 'no such file (HTTP 404)', ended: 'download-failed' },
  { name: 'a refusal', answer: () => status(403), words: 'refuses the request (HTTP 403)', ended: 'download-failed' },
  {
    name: 'redirects without end',
    answer: () => (_, response) => response.writeHead(302, { Location: '/again' }).end(),
    words: 'too many redirects',
    ended: 'download-failed',
  },
  {
    name: 'a redirect that stays on it',
    answer: (image) => (request, response) => {
      if (request.url === '/there?x=1') ranged(image)(request, response);
      else response.writeHead(302, { Location: 'there?x=1' }).end('moved');
    },
    certificate: 'good',
  },
  {
    name: 'a redirect to http',
    answer: (_, insecure) => (_request, response) => response.writeHead(302, { Location: insecure }).end(),
    certificate: 'good',
    words: 'a redirect leads to a protocol that is not allowed (https never leads to http)',
    ended: 'download-failed',
  },
  { name: 'a good certificate', answer: ranged, certificate: 'good' },
  {
    name: 'an expired certificate',
    answer: ranged,
    certificate: 'expired',
    words: 'the certificate of the server has expired by this ',
    ended: 'download-failed',
  },
  {
    name: 'a certificate that is not valid yet, as a clock far behind sees it',
    answer: ranged,
    certificate: 'early',
    words: 'the certificate of the server is not valid yet by this ',
    ended: 'download-failed',
  },
  {
    name: 'a certificate of another authority',
    answer: ranged,
    certificate: 'strange',
    words: 'the certificate of the server is not signed by cacert',
    ended: 'download-failed',
  },
  {
    name: 'a certificate for another name',
    answer: ranged,
    certificate: 'named otherwise',
    words: 'the certificate of the server is for another name',
    ended: 'download-failed',
  },
  {
    name: 'a server that wants a client certificate, of which there is none',
    answer: ranged,
    certificate: 'mutual',
    words: {
      curl: 'refuses the client certificate',
      wget: 'a client certificate that it wants?',
      kubeos: 'refuses the client certificate',
    },
    ended: 'download-failed',
  },
  { name: 'a transfer that stalls once', answer: (image) => first(stalling(image), ranged(image)), stalls: true },
  {
    name: 'transfers that stall before their first byte',
    answer: (image) => (request, response) => {
      if (request.method === 'HEAD') ranged(image)(request, response);
      else response.writeHead(200, { 'Content-Length': image.length }).flushHeaders();
    },
    words: {
      curl: 'less than 10 KiB/s for a minute',
      wget: 'nothing came for a minute',
      kubeos: 'nothing came for a minute',
    },
    ended: 'download-failed',
    stalls: true,
  },
];

const PAGE = '<!DOCTYPE html><html><body>Sign in</body></html>';

const status =
  (code: number): Answering =>
  (_, response) =>
    response.writeHead(code).end();

const startOf = (range: string | undefined): number | undefined => {
  const match = /^bytes=(\d+)-/.exec(range ?? '');
  return match === null ? undefined : Number(match[1]);
};

/** HEAD, GET and ranges, from memory. */
function ranged(image: Buffer): Answering {
  return (request, response) => {
    const from = startOf(request.headers.range);
    const last = Number(/-(\d+)$/.exec(request.headers.range ?? '')?.[1] ?? image.length - 1);
    if (from !== undefined && from >= image.length) {
      response.writeHead(416, { 'Content-Range': `bytes */${image.length}` }).end();
      return;
    }
    const part = image.subarray(from ?? 0, last + 1);
    response.writeHead(from === undefined ? 200 : 206, {
      'Content-Length': part.length,
      ...(from !== undefined && { 'Content-Range': `bytes ${from}-${last}/${image.length}` }),
    });
    response.end(request.method === 'HEAD' ? undefined : part);
  };
}

/** All of it, whatever is asked for. */
const whole =
  (image: Buffer): Answering =>
  (request, response) => {
    delete request.headers.range;
    ranged(image)(request, response);
  };

/** Sends `bytes` of the rest, and hangs up. */
const cut =
  (image: Buffer, from: number, bytes: number): Answering =>
  (request, response) => {
    const total = image.length;
    response.writeHead(from === 0 ? 200 : 206, {
      'Content-Length': total - from,
      ...(from > 0 && { 'Content-Range': `bytes ${from}-${total - 1}/${total}` }),
    });
    response.flushHeaders();
    response.write(image.subarray(from, from + bytes), () => request.socket.destroySoon());
  };

/** Begins as the image does: who looks at its head alone takes it for that. */
const otherOf = (image: Buffer): Buffer => Buffer.from(image).fill('x', 100_000);

/** The first GET for more than a look at the head is answered so, everything else otherwise. */
function first(answer: Answering, then: Answering): Answering {
  let isOver = false;
  return (request, response) => {
    const isLook = /^bytes=0-\d+$/.test(request.headers.range ?? '');
    const counts = request.method === 'GET' && !isLook && !isOver;
    isOver ||= counts;
    (counts ? answer : then)(request, response);
  };
}

const cutOnce = (image: Buffer, then: Answering): Answering => first(cut(image, 0, 300_000), then);

function cutOften(image: Buffer): Answering {
  let cuts = 3;
  return (request, response) => {
    if (request.method === 'HEAD' || request.headers.range === 'bytes=0-0' || cuts === 0) {
      ranged(image)(request, response);
      return;
    }
    cuts -= 1;
    cut(image, startOf(request.headers.range) ?? 0, 200_000)(request, response);
  };
}

/** The first half is of another image, with another ETag; who asks with If-Range gets the whole of the new one. */
function changing(image: Buffer): Answering {
  const before = otherOf(image);
  return first(
    (request, response) => {
      response.setHeader('ETag', '"before"');
      cut(before, 0, 300_000)(request, response);
    },
    (request, response) => {
      response.setHeader('ETag', '"after"');
      const condition = request.headers['if-range'];
      (condition === undefined || condition === '"after"' ? ranged(image) : whole(image))(request, response);
    },
  );
}

/** To a range, 200 and the whole: who appends it has nonsense. */
const wrongRange = (image: Buffer): Answering => whole(image);

function endless(image: Buffer): Answering {
  return (request, response) => {
    if (request.method === 'HEAD') {
      ranged(image)(request, response);
      return;
    }
    const more = (): void => {
      if (!response.destroyed) response.write(Buffer.alloc(1024 * 1024), more);
    };
    response.writeHead(200);
    response.write(image, more);
  };
}

const stalling =
  (image: Buffer): Answering =>
  (_, response) => {
    response.writeHead(200, { 'Content-Length': image.length });
    response.write(image.subarray(0, 100_000));
  };

/** The certificates that the table speaks of, each made when it is asked for first. */
export function certificatesOf(pki: Pki, strangers: Pki): (kind: BadServer['certificate']) => Promise<ServerOptions> {
  const here = { purpose: 'server', addresses: ['127.0.0.1'] } as const;
  return async (kind) => {
    const pair =
      kind === 'expired'
        ? await pki.issue({ ...here, name: 'expired', expired: true })
        : kind === 'early'
          ? await pki.issue({ ...here, name: 'early', early: true })
          : kind === 'named otherwise'
            ? await pki.issue({ ...here, name: 'otherwise', addresses: ['example.org'] })
            : (kind === 'strange' ? strangers : pki).server;
    const mutual = kind === 'mutual' ? { ca: pki.ca, requestCert: true, rejectUnauthorized: true } : {};
    return { key: pair.key, cert: pair.cert, ...mutual };
  };
}
