import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { copyFile, open, readFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';

export interface MachineOptions {
  name: string;
  /** The disk that stays as it is: everything written goes to an overlay in `dir`. */
  disk: string;
  dir: string;
  firmware: 'bios' | 'uefi';
  memoryMib: number;
  /** This machine's address at which the node's sshd is reached; loopback. */
  address: string;
  /** `nvme`: the disk is /dev/nvme0n1, else /dev/vda. */
  bus?: 'virtio' | 'nvme';
  /** Every write and flush of the disk is logged, to a file for each boot (QEMU's blklogwrites). */
  writeLog?: boolean;
  /** Told of each line of the serial console, and of the machine's going down. */
  onLine?: (line: string) => void;
  onDown?: () => void;
}

const OVMF = '/usr/share/OVMF/';
const LOOK_MS = 50;

/** No machine outlives the process that tests, not even where a test was given up. */
const alive = new Set<ChildProcess>();
process.once('exit', () => alive.forEach((qemu) => qemu.kill('SIGKILL')));

/**
 * One virtual machine under software emulation. A reset by the guest, or a panic, ends its QEMU, and a fresh one takes
 * its place: that is several times as quick as a warm reset inside one.
 */
export class Machine {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly overlay: string;
  readonly #options: MachineOptions;
  readonly #serial: string;
  #qemu: ChildProcess | undefined;
  #stopped = false;
  #reading: NodeJS.Timeout | undefined;
  #read = 0;
  #partial = '';
  /** How many QEMUs there were: one a boot. */
  #starts = 0;

  private constructor(options: MachineOptions, port: number) {
    this.#options = options;
    this.name = options.name;
    this.address = options.address;
    this.port = port;
    this.overlay = path.join(options.dir, `${options.name}.qcow2`);
    this.#serial = path.join(options.dir, `${options.name}.serial`);
  }

  static async start(options: MachineOptions): Promise<Machine> {
    const machine = new Machine(options, await freePort(options.address));
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', options.disk, '-F', 'raw', machine.overlay]);
    if (options.firmware === 'uefi') await copyFile(`${OVMF}OVMF_VARS.fd`, machine.#file('vars'));
    machine.powerOn();
    machine.#reading = setInterval(() => void machine.#readSerial(), LOOK_MS);
    return machine;
  }

  get starts(): number {
    return this.#starts;
  }

  /** The log of the writes since the machine was switched on for the nth time, the last one unless told. */
  writeLog(start = this.#starts): string {
    return this.#file(`writes-${start}`);
  }

  powerOn(): void {
    if (this.#qemu !== undefined) return;
    this.#starts += 1;
    if (this.#options.writeLog === true) closeSync(openSync(this.writeLog(), 'a'));
    const log = openSync(this.#file('log'), 'a');
    const qemu = spawn('qemu-system-x86_64', this.#arguments(), { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#qemu = qemu;
    alive.add(qemu);
    const ended = (code: number | null): void => {
      alive.delete(qemu);
      if (this.#qemu !== qemu) return;
      this.#qemu = undefined;
      this.#options.onDown?.();
      // 0: the guest reset itself. Anything else is not a machine's way to go down: its log says why.
      if (!this.#stopped && code === 0) this.powerOn();
    };
    qemu.once('exit', ended);
    qemu.once('error', () => ended(null));
  }

  /** Takes its power, at once and for good until it is switched on again. */
  async powerOff(): Promise<void> {
    const qemu = this.#qemu;
    this.#qemu = undefined;
    if (qemu === undefined) return;
    const gone = new Promise((resolve) => qemu.once('exit', resolve));
    qemu.kill('SIGKILL');
    if (qemu.exitCode === null && qemu.signalCode === null) await gone;
    this.#options.onDown?.();
  }

  /** A hard reset: what the guest had not written is lost. */
  async cut(): Promise<void> {
    await this.powerOff();
    this.powerOn();
  }

  /** Everything on the serial console since the machine was made. */
  async serial(): Promise<string> {
    return (await readFile(this.#serial, 'latin1').catch(() => '')).replaceAll(/\x1b\[[0-9;?]*[A-Za-z]/g, '');
  }

  /** Sends keys to the serial console, as a hand on it does. */
  async press(keys: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(this.#file('serial.sock'), () => socket.end(keys));
      socket.resume();
      socket.once('close', () => resolve());
      socket.once('error', reject);
    });
  }

  /** What QEMU itself complained about. */
  async complaints(): Promise<string> {
    return readFile(this.#file('log'), 'utf8').catch(() => '');
  }

  /** Ends it; its disk stays. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#reading);
    await this.powerOff();
  }

  #file(suffix: string): string {
    return path.join(this.#options.dir, `${this.name}.${suffix}`);
  }

  #arguments(): string[] {
    const { firmware, memoryMib, bus = 'virtio', writeLog = false, address } = this.#options;
    const pflash = (file: string, more = ''): string[] => ['-drive', `if=pflash,format=raw${more},file=${file}`];
    return [
      ...['-name', this.name, '-machine', 'pc,hpet=off,vmport=off,usb=off', '-accel', 'tcg,thread=single,tb-size=128'],
      // Without AVX: emulated, it makes digests and ciphers three times as slow.
      ...['-cpu', 'max,-avx,-avx2', '-smp', '1', '-m', String(memoryMib), '-nodefaults', '-display', 'none'],
      ...['-vga', 'none', '-no-reboot', '-boot', 'strict=on'],
      ...(firmware === 'uefi' ? [...pflash(`${OVMF}OVMF_CODE.fd`, ',readonly=on'), ...pflash(this.#file('vars'))] : []),
      ...['-blockdev', `driver=file,node-name=f0,filename=${this.overlay}`],
      ...['-blockdev', 'driver=qcow2,node-name=q0,file=f0'],
      ...(!writeLog
        ? []
        : [
            ...['-blockdev', `driver=file,node-name=l0,filename=${this.writeLog()}`],
            ...['-blockdev', 'driver=blklogwrites,node-name=w0,file=q0,log=l0,log-append=off,log-sector-size=512'],
          ]),
      ...[
        '-device',
        `${bus === 'nvme' ? 'nvme,serial=1' : 'virtio-blk-pci'},drive=${writeLog ? 'w0' : 'q0'},bootindex=0`,
      ],
      ...['-netdev', `user,id=n0,hostfwd=tcp:${address}:${this.port}-:22`],
      ...['-device', 'virtio-net-pci,netdev=n0,romfile='],
      ...[
        '-chardev',
        `socket,id=s0,path=${this.#file('serial.sock')},server=on,wait=off,logfile=${this.#serial},logappend=on`,
      ],
      ...['-serial', 'chardev:s0'],
    ];
  }

  async #readSerial(): Promise<void> {
    const { onLine } = this.#options;
    const file = await open(this.#serial, 'r').catch(() => undefined);
    if (file === undefined) return;
    try {
      const { size } = await file.stat();
      if (size <= this.#read) return;
      const from = this.#read;
      this.#read = size;
      const { buffer } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
      const lines = (this.#partial + buffer.toString('latin1')).split(/\r*\n/);
      this.#partial = lines.pop() ?? '';
      for (const line of lines) onLine?.(line);
    } finally {
      await file.close();
    }
  }
}

const run = promisify(execFile);

function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
