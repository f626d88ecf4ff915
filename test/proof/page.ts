import { type Disturbance, DISTURBANCES } from '../lab/matrix/disturbances.ts';
import type { Place } from '../lab/matrix/places.ts';
import type { Played, Verdict } from '../lab/matrix/play.ts';

const NAMES = Object.keys(DISTURBANCES) as Disturbance[];

const WORDS: Readonly<Record<Verdict, string>> = {
  done: 'done',
  again: 'again: done',
  retry: 'fell back; retried: done',
};

/** docs/proof.md, from what a run of the whole matrix has found: no times, no paths, the same for the same findings. */
export function proofPage(places: readonly Place[], played: readonly Played[], seed: number): string {
  const cellOf = (place: Place, disturbance: Disturbance): string => {
    const found = played.find((one) => one.place === place && one.disturbance === disturbance);
    if (found === undefined) return '**not played**';
    return found.verdict === undefined || found.broken.length > 0 ? '**FAILED**' : WORDS[found.verdict];
  };
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rows = places.map((place) => row([place.name, ...NAMES.map((name) => cellOf(place, name))]));
  const counts = NAMES.map((name) => countOf(played.filter(({ disturbance }) => disturbance === name)));
  return [
    INTRODUCTION,
    row(['place', ...NAMES]),
    row(['---', ...NAMES.map(() => '---')]),
    ...rows,
    row(['**ended well**', ...counts]),
    '',
    `${played.filter(isWell).length} of ${places.length * NAMES.length} cases ended well. Seed of the instants: ${seed}.`,
    ...failures(played),
    '',
    REPRODUCE,
  ].join('\n');
}

/** It ended at its goal, and nothing that always holds was broken on the way. */
export const isWell = ({ verdict, broken }: Played): boolean => verdict !== undefined && broken.length === 0;

const countOf = (played: readonly Played[]): string => `${played.filter(isWell).length} of ${played.length}`;

function failures(played: readonly Played[]): string[] {
  const bad = played.filter((one) => !isWell(one));
  if (bad.length === 0) return [];
  return ['', ...bad.map(({ place, disturbance, broken }) => `- ${place.name}, ${disturbance}: ${broken.join('; ')}`)];
}

const INTRODUCTION = `# Killed, cut off, reset: the proof

\`npm run proof\` writes this part. It upgrades three nodes of the lab, two at a time, with the built command line, real
node scripts, real \`dd\` and real processes, and disturbs each run once, at one place in one node's way:

- at every step boundary: the lab holds the call that begins or ends the step, the run is disturbed, and the call is let
  go (or lost, where its way is what broke);
- at twenty instants inside the long steps, drawn from a seed, as shares of the time that the step takes undisturbed.

| disturbance | what it is |
| --- | --- |
| kill -9, same machine | the process is killed; the same command is given again there, at once |
| kill -9, another machine | the same, but the command is given under another host name, boot id and home folder, without any log: the dead run's Lease must stand still first |
| SSH cut | the node's connections break and are refused for 1.5 seconds |
| API cut | every connection to the API server breaks and is refused for 3 seconds |
| node reset | the node loses its power, undrained or not, and comes up again |

While a case is played, and after it, these are watched: never more workers cordoned or not Ready than the budget; a
cordon that somebody else had set stays (every second case has one); after every call that changed a node, the slot that
its boot environment makes permanent boots, the other slot is permanent only with a proof, and armed only once it is
verified; slot A, which all nodes run at first, keeps every byte. At the end all three nodes run the new version in a
permanent slot, and no cordon, annotation, process or lock of kubeos is left.

What a cell says:

- **done**: the disturbed run itself ended with exit code 0;
- **again: done**: the same command, given again, ended with 0;
- **fell back; retried: done**: the reset ended the trial, so that the node came up in its old slot. That cannot be told
  from an image that crashes: the node counts as fallen back (exit code 5), the same command refuses the image there
  (exit code 4) and names \`--retry-failed-image\`, with which it ended with 0.
`;

const REPRODUCE = `## How to reproduce it

\`\`\`
npm run proof
KUBEOS_PROOF_SEED=7 KUBEOS_PROOF_LABS=4 npm run proof
\`\`\`

The first plays this very table; the second other instants, in four labs side by side. It needs what \`npm test\` needs.
\`npm test\` plays a part of the table, the boundaries around the arming, the reboot and the commit among it
(test/lab/killed-places.test.ts); the simulation kills, cuts and resets at every single call, in virtual time
(test/sim/killed.test.ts, test/sim/disturbed.test.ts).
`;
