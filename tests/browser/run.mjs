// Drives a real browser over a running viewer.
//
//   node run.mjs SUITE BASE FACTS
//
// FACTS is a JSON file with what the archive holds (see tests/browser/main.rs). Each problem is one line on standard error;
// the exit status is 1 if there is any. `live` and other suites that need something to happen print one line on standard
// output when they are ready and read one line when it was done.
import { readFileSync } from 'node:fs';
import { open, launch } from './look.mjs';

const [suite, base, facts] = process.argv.slice(2);
const { default: run } = await import(`./${suite}.mjs`);
const browser = await launch();
const problems = [];
let checks = 0;
const test = {
  base,
  browser,
  facts: JSON.parse(readFileSync(facts, 'utf8')),
  open: (options) => open(browser, base, options),
  // Notes a problem unless `good`.
  ok(good, problem) {
    checks += 1;
    if (!good) problems.push(problem);
  },
  all(where, found) {
    checks += 1;
    for (const problem of found) problems.push(`${where}: ${problem}`);
  },
};
try {
  await run(test);
} catch (error) {
  problems.push(error.stack);
}
await browser.close();
if (checks === 0) problems.push(`${suite}: nothing was checked`);
for (const problem of problems) console.error(problem);
console.error(`${suite}: ${checks} checks, ${problems.length} problems`);
process.exit(problems.length ? 1 : 0);
