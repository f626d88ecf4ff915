import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { redactUrl, redactUrls, validateSpec } from '../../../src/validate/index.ts';
import { maskUrls } from '../../../src/validate/redact.ts';
import { diskSpec, HEAD, SHA256 } from './spec-texts.ts';

describe('redactUrls', () => {
  test.each([
    ['https://user:pass@host/x', 'https://***@host/x'],
    ['https://token@host/x', 'https://***@host/x'],
    ['HTTP://user:pa@ss@host:8080/x', 'HTTP://***@host:8080/x'],
    ['https://user:pa/ss@host/x', 'https://***@host/x'],
    ['https://h/x?version=2&X-Amz-Signature=abc#top', 'https://h/x?version=2&X-Amz-Signature=***#top'],
    ['https://h/x?X%2DAmz%2DSignature=abc', 'https://h/x?X%2DAmz%2DSignature=***'],
    ['https://h/x?sig=a%2Fb&se=2026', 'https://h/x?sig=***&se=2026'],
    ['https://h/x?0123456789abcdef0123456789', 'https://h/x?***'],
    ['https://h/x#access_token=abc', 'https://h/x#access_token=***'],
    ['http://a/?next=https://u:p@h&token=x', 'http://a/?next=https://***@h&token=***'],
    ['"https:\\/\\/u:p@h\\/x?sig=zz"', '"https:\\/\\/***@h\\/x?sig=***"'],
    [
      'curl: (6) no host in https://u:p@h/x, twice: ftp://u:p@h',
      'curl: (6) no host in https://***@h/x, twice: ftp://***@h',
    ],
    ['imageurl: user:pass@host/x', 'imageurl: ***@host/x'],
    ['one https://u:p@h\ntwo https://h', 'one https://***@h\ntwo https://h'],
    [
      `{"url":"https://u:p@h/x?a=1&token=zz","checksum":"${SHA256}"}`,
      `{"url":"https://***@h/x?a=1&token=***","checksum":"${SHA256}"}`,
    ],
  ])('%s', (text, shown) => {
    expect(redactUrls(text)).toBe(shown);
    expect(redactUrls(redactUrls(text))).toBe(shown);
  });

  test.each([
    'https://host:8443/update.img',
    'https://[fd00::1]:8080/x@v1/update.img?version=2.0.0&arch=aarch64',
    `registry.example.com:5000/kubeos/kubeos:2.0.0@sha256:${SHA256}`,
    'git@example.com:kubeos/kubeos',
    'ci@runner-7, pid 4121, https://ci.example/jobs/981',
    '10.1.0.12:22 offered SHA256:q0mB9XE',
    '',
  ])('leaves alone what is no secret: %s', (text) => {
    expect(redactUrls(text)).toBe(text);
  });

  const secret = fc.stringMatching(/^[A-Za-z0-9!$'()*+,;=:._~%-]{6,30}$/).map((text) => `s3cr3t${text}`);

  test('no secret in the place of a password, a user or a signature is ever shown', () => {
    const forms = fc.constantFrom(
      (text: string) => `https://user:${text}@host/x`,
      (text: string) => `see https://${text}@host:80/x?y=1 there`,
      (text: string) => `https://h/x?a=b&sig=${encodeURIComponent(text)}&c=d`,
      (text: string) => `- 'https://h/x?X-Goog-Signature=${encodeURIComponent(text)}'`,
    );
    fc.assert(
      fc.property(secret, forms, (text, form) => {
        for (const shown of [redactUrls(form(text)), redactUrl(form(text)), maskUrls(form(text))]) {
          expect(shown).not.toContain('s3cr3t');
        }
      }),
    );
  });

  test('a mask keeps every column', () => {
    const part = fc.constantFrom(
      '://',
      ':',
      '@',
      '/',
      '?',
      '&',
      '=',
      '#',
      ' ',
      '\n',
      '"',
      'user',
      'sig',
      'é',
      '\\/',
      'sha256:',
    );
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 30 }),
        (parts) => maskUrls(parts.join('')).length === parts.join('').length,
      ),
    );
  });
});

describe('diagnostics never show', () => {
  const SECRET = 'hunter2secret';
  test.each([
    ['a password of a wrong address', diskSpec({ imageurl: `ftp://u:${SECRET}@h/x` })],
    ['one with a space in it', diskSpec({ imageurl: `https://u:my ${SECRET}@h/x` })],
    ['one with a slash in it', diskSpec({ imageurl: `https://u:my/${SECRET}@h/x` })],
    ['one in the wrong field', diskSpec({ osversion: `https://u:${SECRET}@h/x`, checksum: `https://u:${SECRET}@h/x` })],
    ['one of an image', diskSpec({ imagetype: 'docker', dockerimage: `https://u:${SECRET}@h/x` })],
    ['a signature over http', diskSpec({ imageurl: `http://h/x?X-Amz-Signature=${SECRET}` })],
    ['one in an unknown field', diskSpec({ [`https://u:${SECRET}@h/`]: `https://u:${SECRET}@h/` })],
    ['one in a file with a broken line', diskSpec({ imageurl: `"https://u:${SECRET}@h/x` })],
    ['one without the space before it', `${HEAD}  imageurl:https://u:${SECRET}@h/x\n`],
    ['one in the one-line form', `${HEAD.replaceAll(/\s+/g, ' ')} imageurl: https://u:${SECRET}@h/x`],
    ['one in a choice', diskSpec({ imagetype: `https://u:${SECRET}@h/x`, mtls: `https://u:${SECRET}@h/x` })],
  ])('%s', (_what, text) => {
    const { diagnostics } = validateSpec(text, 'os.yaml');
    expect(diagnostics.length).toBeGreaterThan(0);
    expect(JSON.stringify(diagnostics)).not.toContain(SECRET);
  });
});
