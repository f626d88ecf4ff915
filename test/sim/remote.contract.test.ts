import { describeRemoteContract, type BedNode, type RemoteBed } from '../contract/remote-suite.ts';
import { SimClient } from './client.ts';
import { BYTES, system } from './machine.ts';
import { SimRemote } from './sim-remote.ts';
import { ARTIFACT, SimWorld } from './world.ts';

const SLOW = { ...ARTIFACT, url: 'https://10.0.0.5/slow.img' };

function simBed(): Promise<RemoteBed> {
  const world = new SimWorld([]);
  const stop = world.clock.runAlways();
  let count = 0;
  const bed: RemoteBed = {
    remote: new SimRemote(new SimClient(world, 'one')),
    another: new SimRemote(new SimClient(world, 'two')),
    unreachable: { ...shownOf(world, 'nobody'), name: 'nobody' },
    makeNode: () => Promise.resolve(bedNode(world, `node-${++count}`)),
    close: () => {
      stop();
      return Promise.resolve();
    },
  };
  return Promise.resolve(bed);
}

function shownOf(world: SimWorld, name: string): RemoteBed['unreachable'] {
  world.addNode(name, system('KubeOS 1.0.0'));
  const shown = world.shown(name);
  if (name === 'nobody') world.fault(name).refusesSsh = true;
  return shown;
}

function bedNode(world: SimWorld, name: string): BedNode {
  const node = shownOf(world, name);
  const machine = world.machine(name);
  const url = `${SLOW.url}?${name}`;
  let release = (): void => undefined;
  world.stands.set(url, new Promise((resolve) => (release = resolve)));
  return {
    node,
    version: 'KubeOS 1.0.0',
    image: { artifact: ARTIFACT, version: 'KubeOS 2.0.0', bytes: BYTES },
    slow: { artifact: { ...SLOW, url }, release },
    cut: () => {
      world.fault(name).refusesSsh = true;
      world.clock.after(3000, () => (world.fault(name).refusesSsh = false));
    },
    obeyReboot: ({ trialFails = false } = {}) => {
      const { content } = machine.slots[machine.inactive];
      if (trialFails && content !== undefined) {
        machine.slots[machine.inactive].content = { ...content, boots: 'panic' };
      }
      return Promise.resolve();
    },
  };
}

describeRemoteContract('the simulated one', simBed);
