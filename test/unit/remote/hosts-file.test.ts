import { describe, expect, it } from 'vitest';
import { UsageError } from '../../../src/errors.ts';
import { parseHostsFile } from '../../../src/remote/index.ts';

function problems(text: string): string {
  try {
    parseHostsFile(text, 'hosts.yaml');
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    expect((error as UsageError).next).toContain('- name: worker-1');
    return (error as UsageError).reason ?? '';
  }
  throw new Error('it was accepted');
}

describe('a hosts file', () => {
  it('lists nodes, with as much as is to be said of each', () => {
    const text =
      '- name: worker-1\n  address: 10.0.0.11\n  port: 2222\n  user: ops\n  identity: ~/.ssh/k\n- name: worker-2.example\n  address: fd00::2\n';
    expect(parseHostsFile(text, 'f')).toEqual([
      { name: 'worker-1', address: '10.0.0.11', port: 2222, user: 'ops', identity: '~/.ssh/k' },
      { name: 'worker-2.example', address: 'fd00::2' },
    ]);
  });

  it('names the jump hosts of a node, or that it has none', () => {
    const text = '- name: a\n  jump: ops@b1:2022,b2\n- name: b\n  jump: none\n';
    expect(parseHostsFile(text, 'f')).toEqual([
      { name: 'a', jump: [{ name: 'b1', user: 'ops', port: 2022 }, { name: 'b2' }] },
      { name: 'b', jump: [] },
    ]);
  });

  it('may have its list under `hosts`', () => {
    expect(parseHostsFile('hosts:\n  - name: a\n', 'f')).toEqual([{ name: 'a' }]);
  });

  it.each([
    ['- name: a\n  prot: 22\n', /line 1: unknown field prot; the fields are name, address, port, user, identity/],
    ['- name: a\n- address: 10.0.0.1\n', /line 2: name/],
    ['- name: a\n  port: 70000\n', /line 2: port/],
    ['- name: a\n  port: "22"\n', /line 2: port/],
    ['- name: -oX\n', /line 1: name is no node name/],
    ['- name: a\n  address: -x y\n', /line 2: address is no host name/],
    ['- name: a\n  user: -l\n', /line 2: user/],
    ['- name: a\n  jump: -oX\n', /line 2: jump is not user@host:port,second; an IPv6 address in brackets/],
    ['- name: a\n- name: b\n- name: a\n', /line 3: a is listed twice/],
    ['- name: [\n', /line \d/],
    ['', /a list of nodes is expected/],
    ['just text', /a list of nodes is expected/],
    ['[]', /names no node/],
    ['- name: a\n  name: b\n', /line 2: /],
    ['- worker-1\n', /line 1: /],
  ])('says what is wrong with %j', (text, expected) => expect(problems(text)).toMatch(expected));

  it('has all its mistakes reported at once', () => {
    expect(problems('- name: a\n  port: 0\n- name: b\n  port: x\n').split('\n')).toHaveLength(2);
  });

  it('ends quickly with aliases that multiply', () => {
    const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]'];
    for (let level = 1; level < 9; level++) {
      const before = String.fromCharCode(96 + level);
      bomb.push(
        `${String.fromCharCode(97 + level)}: &${String.fromCharCode(97 + level)} [${Array<string>(9).fill(`*${before}`).join(',')}]`,
      );
    }
    expect(problems(bomb.join('\n'))).toMatch(/alias/i);
  });
});
