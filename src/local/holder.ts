import { hostname, userInfo } from 'node:os';
import { redactUrl } from '../validate/redact.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Who runs kubeos on this machine. */
export interface Runner {
  user: string;
  host: string;
  pid: number;
}

/** For the lock: `ci@runner-7, pid 4121, https://ci.example/jobs/981`, so that others know whom to ask. */
export function describeHolder(env: Environment, runner: Runner = thisRunner(env)): string {
  const job = ciJobUrl(env);
  const { user, host, pid } = runner;
  return `${user}@${host}, pid ${pid}${job === undefined ? '' : `, ${job}`}`;
}

/**
 * The page of the CI job that kubeos runs in. The variables are those that GitHub Actions, GitLab CI, Jenkins, Buildkite
 * and CircleCI document for their jobs.
 */
export function ciJobUrl(env: Environment): string | undefined {
  const url =
    githubRunUrl(env) ?? env['CI_JOB_URL'] ?? env['BUILDKITE_BUILD_URL'] ?? env['CIRCLE_BUILD_URL'] ?? env['BUILD_URL'];
  return url !== undefined && /^https?:\/\/[\x21-\x7e]+$/.test(url) ? redactUrl(url) : undefined;
}

function githubRunUrl(env: Environment): string | undefined {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: id } = env;
  if (env['GITHUB_ACTIONS'] !== 'true' || !server || !repository || !id) return undefined;
  return `${server}/${repository}/actions/runs/${id}`;
}

function thisRunner(env: Environment): Runner {
  return { user: userName(env), host: hostname(), pid: process.pid };
}

/** A container's user often has no entry in /etc/passwd; then Node.js throws. */
function userName(env: Environment): string {
  try {
    return userInfo().username;
  } catch {
    return env['USER'] ?? `uid-${process.getuid?.() ?? 'unknown'}`;
  }
}
