// Every page, in every way people look at it: nothing breaks, nothing overflows, axe-core finds nothing; with a screenshot.
import path from 'node:path';
import { accessible, inspect, shots, ways } from './look.mjs';

export default async function pages({ facts, open, ok, all }) {
  for (const [way, options] of Object.entries(ways)) {
    const { page, context, problems } = await open(options);
    for (const [name, address] of Object.entries(facts.pages)) {
      const answer = await page.goto(address, { waitUntil: 'load' });
      const wanted = facts.statuses?.[name] ?? 200;
      page.expectStatus = wanted !== 200;
      ok(answer.status() === wanted, `${name} (${way}): status ${answer.status()}, not ${wanted}`);
      all(`${name} (${way})`, await inspect(page));
      all(`${name} (${way})`, await accessible(page));
      await page.screenshot({ path: path.join(shots, `${name}-${way}.png`), fullPage: true });
      const happened = wanted === 200 ? problems : problems.filter((problem) => !/status of/.test(problem));
      all(`${name} (${way})`, happened);
      problems.length = 0;
    }
    await context.close();
  }
}
