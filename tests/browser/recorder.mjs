// What the recorder does, with a connector that finds no server: said on every page, in words, and not only by a colour.
import path from 'node:path';
import { accessible, inspect, shots, ways } from './look.mjs';

export default async function recorder({ open, ok, all }) {
  for (const [way, options] of Object.entries(ways)) {
    const { page, context, problems } = await open(options);
    await page.goto('/integrity');
    ok((await page.locator('footer').innerText()).includes('Not connected'), `${way}: the footer says ${await page.locator('footer').innerText()}`);
    const row = page.getByRole('row', { name: /sfb/ });
    ok((await row.count()) === 1, `${way}: the connector is not listed`);
    all(way, await inspect(page));
    all(way, await accessible(page));
    await page.screenshot({ path: path.join(shots, `integrity-recorder-${way}.png`), fullPage: true });
    all(way, problems);
    await context.close();
  }
}
