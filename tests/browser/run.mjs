// Drives a real browser over a running viewer.
//
//   node run.mjs SUITE[:WAY] BASE FACTS
//
// FACTS is a JSON file with what the archive holds (see tests/browser/stage.rs). Each problem is one line on standard error;
// the exit status is 1 if there is any. A suite that needs something to happen says so by one word on standard output.
import { readFileSync } from 'node:fs';
import { launch, open } from './look.mjs';

const [named, base, file] = process.argv.slice(2);
const [suite, way] = named.split(':');
const { default: run } = await import(`./${suite}.mjs`);
const facts = JSON.parse(readFileSync(file, 'utf8'));
const began = Date.now();
const browser = await launch();
const problems = [];
let checks = 0;
const test = {
  base,
  browser,
  way,
  facts,
  open: (options) => open(browser, base, options),
  // Goes to a page of the facts by its name; notes an unexpected status.
  async visit(page, name) {
    const wanted = facts.statuses[name];
    page.expectStatus = wanted !== 200;
    const answer = await page.goto(facts.pages[name], { waitUntil: 'load' });
    test.ok(answer.status() === wanted, `${name}: status ${answer.status()}, not ${wanted}`);
  },
  // Notes a problem unless `good`.
  ok(good, problem) {
    checks += 1;
    if (!good) problems.push(problem);
  },
  all(where, found) {
    checks += 1;
    for (const problem of found) problems.push(`${where}: ${problem}`);
  },
  say: (word) => console.log(word),
};
try {
  await run(test);
} catch (error) {
  problems.push(error.stack);
}
await browser.close();
if (checks === 0) problems.push('nothing was checked');
for (const problem of problems) console.error(`${named}: ${problem}`);
console.error(`${named}: ${checks} checks, ${problems.length} problems, ${((Date.now() - began) / 1000).toFixed(1)} s`);
process.exit(problems.length ? 1 : 0);
