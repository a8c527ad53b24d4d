// `greffier demo` in a browser: conversations appear in the list, and what is said in one of them appears as it is said.
import path from 'node:path';
import { accessible, inspect, shots } from './look.mjs';

export default async function demo({ open, ok, all }) {
  const { page, context, problems } = await open({ viewport: { width: 1280, height: 900 } });
  const rows = page.locator('.row h3 a');
  // The list tells of itself when something was recorded; until the first conversation begins it is looked at again.
  await page.goto('/');
  const deadline = Date.now() + 30000;
  while ((await rows.count()) === 0 && Date.now() < deadline) {
    await page.waitForTimeout(250);
    await page.reload();
  }
  await rows.first().click();
  await page.waitForFunction(() => document.documentElement.dataset.live === 'on');
  const had = await page.locator('.msg, .line').count();
  await page.waitForFunction((had) => document.querySelectorAll('.msg, .line').length > had, had, { timeout: 30000 });
  ok(true, 'something arrived');
  all('demo', await inspect(page));
  all('demo', await accessible(page));
  await page.screenshot({ path: path.join(shots, 'demo-transcript.png'), fullPage: true });
  await page.goto('/');
  await page.screenshot({ path: path.join(shots, 'demo-list.png'), fullPage: true });
  ok((await page.locator('footer').innerText()).includes('Recording'), 'the page does not say that it records');
  all('demo', problems);
  await context.close();
}
