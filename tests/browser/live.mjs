// What is said while a person reads arrives by itself, and the reader stays where they are.
import { createInterface } from 'node:readline';

export default async function live({ facts, open, ok, all }) {
  const { page, context, problems } = await open({ viewport: { width: 1280, height: 700 } });
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  await page.goto(facts.pages.live);
  await page.waitForFunction(() => document.documentElement.dataset.live === 'on');
  const before = await page.evaluate(() => window.scrollY);
  console.log('ready');
  const said = (await lines.next()).value;
  await page.getByText(said).first().waitFor({ timeout: 20000 });
  ok(true, 'it arrived');
  ok((await page.evaluate(() => window.scrollY)) === before, 'the reader was moved');
  all('live', problems);
  await context.close();
}
