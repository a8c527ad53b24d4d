// What is said while a person reads arrives by itself, is told to who listens, and the reader stays where they are.
import path from 'node:path';
import { accessible, inspect, shots } from './look.mjs';

export default async function live({ facts, open, ok, all, say }) {
  const { page, context, problems } = await open({ viewport: { width: 1280, height: 700 } });
  await page.goto(facts.live);
  await page.waitForFunction(() => document.documentElement.dataset.live === 'on');
  const place = await page.evaluate(() => scrollY);
  say('ready');
  const new_one = page.locator('.msg', { hasText: 'The crane has arrived' });
  await new_one.waitFor({ timeout: 15000 });
  ok((await page.locator('[role=status]').allInnerTexts()).some((text) => text.includes('The crane has arrived')), 'it is not told to who listens');
  ok((await page.evaluate(() => scrollY)) === place, 'the reader was moved');
  const days = await page.locator('.tday').count();
  ok(days === 1, `the same day stands there ${days} times`);
  say('said');
  await page.locator('.msg', { hasText: 'both of them' }).waitFor({ timeout: 15000 });
  await page.locator('.msg summary', { hasText: '2 versions' }).waitFor({ timeout: 15000 });
  ok((await new_one.count()) === 1, 'the edited message stands there twice');
  say('edited');
  await page.locator('.msg.is-deleted', { hasText: 'both of them' }).waitFor({ timeout: 15000 });
  await page.locator('.gap').waitFor({ timeout: 15000 });
  all('live', await inspect(page));
  all('live', await accessible(page));
  await page.evaluate(() => scrollTo(0, 0));
  say('deleted');
  await page.getByText('and then 39', { exact: true }).waitFor({ timeout: 15000 });
  ok((await page.evaluate(() => scrollY)) === 0, 'the reader was moved by many messages');
  const order = await page.locator('.msg .said').allInnerTexts();
  const numbers = order.filter((text) => text.startsWith('and then')).map((text) => Number(text.slice(9)));
  ok(numbers.length === 40 && numbers.every((number, at) => number === at), `the new ones stand in the order ${numbers.join(' ')}`);
  const below = page.getByRole('button', { name: /new below/ });
  ok(await below.isVisible(), 'nothing tells that there is more below');
  await page.screenshot({ path: path.join(shots, 'live.png') });
  await below.click();
  await page.getByText('and then 39', { exact: true }).waitFor();
  ok(await page.getByText('and then 39', { exact: true }).evaluate((e) => e.getBoundingClientRect().bottom <= innerHeight), 'the button does not lead to the newest');
  all('live', await accessible(page));
  // The same page, loaded anew, says the same.
  const before = await page.locator('.msg .said').allInnerTexts();
  await page.reload();
  const after = await page.locator('.msg .said').allInnerTexts();
  ok(before.join('\n') === after.join('\n'), 'the page loaded anew shows something else');
  all('live', problems);
  await context.close();
}
