/** Prints what this process has used so far, its children left out, for the benchmark that started it. */
export function tellUse(): void {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const wallMs = process.uptime() * 1000;
  const use = { cpuMs: (userCPUTime + systemCPUTime) / 1000, wallMs, maxRssMiB: maxRSS / 1024 };
  process.stdout.write(`${JSON.stringify(use)}\n`);
}
