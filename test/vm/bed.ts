import { diskOf, type DiskOptions, type Engine, type Init } from './artifacts.ts';
import { assemble, type AssembledBed, type BedOptions } from './assemble.ts';
import { Machine, type MachineOptions } from './machine.ts';
import type { BedNode } from './node.ts';

export interface VmBedOptions extends BedOptions {
  firmware?: DiskOptions['firmware'];
  style?: DiskOptions['style'];
  /** BusyBox's unless told. */
  init?: Init;
  /** As in DiskOptions. */
  engine?: Engine;
  bus?: MachineOptions['bus'];
  /** As in MachineOptions. */
  writeLog?: boolean;
}

/** A bed whose nodes are virtual machines. */
export type VmBed = AssembledBed<Machine>;
export type VmNode = BedNode<Machine>;

/** As `assemble` says. */
export function startVmBed(options: VmBedOptions = {}): Promise<VmBed> {
  const { firmware = 'bios', style = 'label', init = 'busybox', engine, bus, writeLog = false } = options;
  return assemble<Machine>(options, () =>
    Promise.resolve({
      host: '10.0.2.2',
      machine: async (node, { dir, name, index }) =>
        Machine.start({
          // All of 127.0.0.0/8 is this machine: so each node has an address of its own.
          ...{ name, dir, firmware, address: `127.88.0.${index + 11}` },
          disk: await diskOf({ name, firmware, style, init, ...(engine === undefined ? {} : { engine }) }),
          memoryMib: engine !== undefined ? 512 : firmware === 'uefi' || init === 'systemd' ? 256 : 192,
          ...(bus === undefined ? {} : { bus }),
          writeLog,
          onLine: (line) => node.hear(line),
          onDown: () => node.goDown(),
        }),
    }),
  );
}
