// Every page, in one of the ways people look at it: nothing breaks, nothing overflows, axe-core finds nothing; with a screenshot.
import path from 'node:path';
import { accessible, inspect, shots, ways } from './look.mjs';

export default async function pages({ facts, way, open, visit, all }) {
  const { page, context, problems } = await open(ways[way]);
  for (const name of Object.keys(facts.pages)) {
    await visit(page, name);
    all(name, await inspect(page));
    all(name, await accessible(page));
    await page.screenshot({ path: path.join(shots, `${name}-${way}.png`), fullPage: true });
    all(name, problems.splice(0));
  }
  await context.close();
}
