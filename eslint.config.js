import tseslint from 'typescript-eslint';

// DESIGN of the layers (docs/design.md): main -> program -> commands -> {cluster, remote, report, local} -> rollout
// -> validate -> errors, exit-codes; never back, and the four adapters never import each other.
const FOLDERS = ['commands', 'cluster', 'remote', 'report', 'local', 'rollout', 'validate', 'lab'];
const MAY_IMPORT = {
  validate: [],
  rollout: ['validate'],
  cluster: ['rollout', 'validate'],
  remote: ['rollout', 'validate'],
  report: ['rollout', 'validate'],
  local: ['rollout', 'validate'],
  lab: ['rollout', 'validate'],
  commands: ['cluster', 'remote', 'report', 'local', 'rollout', 'validate', 'lab'],
};
const ONLY_IN = { ora: 'report', chalk: 'report', ssh2: 'remote', 'node:child_process': 'cluster' };
const ALSO_IN = { ssh2: ['lab'], 'node:child_process': ['remote', 'local', 'lab'] };
const NODE_IO = [
  'fs',
  'fs/promises',
  'net',
  'http',
  'https',
  'child_process',
  'os',
  'crypto',
  'timers',
  'timers/promises',
  'process',
];

const layerRules = FOLDERS.map((folder) => {
  const patterns = FOLDERS.filter((other) => other !== folder && !MAY_IMPORT[folder].includes(other)).map((other) => ({
    regex: `^(\\.\\./)+${other}(/|$)`,
    message: `src/${folder} may not import src/${other} (docs/design.md, Layers).`,
  }));
  if (folder !== 'lab') patterns.push({ regex: '/(main|program)\\.ts$', message: 'Nothing imports main or program.' });
  const paths = Object.entries(ONLY_IN)
    .filter(([name, home]) => home !== folder && !(ALSO_IN[name] ?? []).includes(folder))
    .map(([name]) => ({ name, message: `${name} belongs to another layer (docs/design.md, Layers).` }));
  if (folder === 'rollout') {
    paths.push(
      ...NODE_IO.flatMap((name) => [name, `node:${name}`]).map((name) => ({
        name,
        message: 'src/rollout decides; it does no IO of its own.',
      })),
    );
  }
  return { files: [`src/${folder}/**/*.ts`], rules: { 'no-restricted-imports': ['error', { patterns, paths }] } };
});

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', 'node_modules/'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'max-lines-per-function': ['error', { max: 60, skipComments: true }],
      complexity: ['error', 12],
      'max-lines': ['error', 350],
    },
  },
  ...layerRules,
  {
    files: ['src/rollout/**/*.ts'],
    rules: {
      'no-restricted-globals': ['error', 'process', 'setTimeout', 'setInterval', 'setImmediate', 'fetch'],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'Take the time from the Clock port.' },
        { object: 'Math', property: 'random', message: 'src/rollout throws no dice.' },
      ],
    },
  },
  { files: ['test/**/*.ts'], rules: { '@typescript-eslint/no-non-null-assertion': 'off' } },
  { files: ['**/*.js'], ...tseslint.configs.disableTypeChecked },
  { files: ['test/run.js'], rules: { 'no-console': 'off' } },
);
