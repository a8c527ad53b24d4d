// What is taken away: the menu gives files; a conversation as HTML opens from a disk with nothing else around it.
import { readFileSync, rmSync, mkdtempSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { accessible, inspect, shots, ways } from './look.mjs';

export default async function exported({ browser, facts, open, ok, all }) {
  const folder = mkdtempSync(path.join(tmpdir(), 'greffier-taken-'));
  const { page, context, problems } = await open({ acceptDownloads: true });
  const take = async (link, name) => {
    const [download] = await Promise.all([page.waitForEvent('download'), link.click()]);
    const file = path.join(folder, name ?? download.suggestedFilename());
    await download.saveAs(file);
    return { file, name: download.suggestedFilename() };
  };
  await page.goto(facts.pages.transcript);
  await page.locator('summary', { hasText: 'Export' }).click();
  const links = page.locator('.menu-list a[href*="/export?"]:not([href*="file=only"])');
  ok((await links.count()) >= 8, `only ${await links.count()} formats are offered`);
  for (const link of await links.all()) {
    const { file, name } = await take(link);
    const bytes = readFileSync(file);
    ok(name.endsWith('.zip') && bytes.subarray(0, 2).toString() === 'PK', `${name} is no ZIP`);
    const listed = execFileSync('python3', ['-m', 'zipfile', '-l', file]).toString();
    ok(/manifest\.json/.test(listed) && /README/i.test(listed), `${name} lacks its manifest or README`);
  }
  all('the menu', problems.splice(0));

  for (const [which, address] of Object.entries(facts.taken)) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.goto(address).catch(() => {})]);
    const file = path.join(folder, `${which}.html`);
    await download.saveAs(file);
    for (const [way, options] of Object.entries(ways)) {
      const disk = await browser.newContext({ ...options, offline: true });
      const sheet = await disk.newPage();
      const asked = [];
      sheet.on('request', (request) => asked.push(request.url()));
      sheet.on('console', (message) => asked.push(`console: ${message.text()}`));
      sheet.on('pageerror', (error) => asked.push(`script error: ${error.message}`));
      const url = pathToFileURL(file).href;
      await sheet.goto(url);
      // A megabyte of words is no picture.
      await sheet.screenshot({ path: path.join(shots, `taken-${which}-${way}.png`), fullPage: which === 'rich' });
      all(`${which} (${way})`, asked.filter((one) => one !== url && !one.startsWith('data:')).map((one) => `asks for ${one.slice(0, 120)}`));
      all(`${which} (${way})`, await inspect(sheet, { alone: true }));
      // Its own policy lets no script run, so axe-core is put in from outside of it.
      all(`${which} (${way})`, await accessible(sheet));
      ok((await sheet.evaluate(() => globalThis.pwned)) === undefined, `${which}: a script of a message ran`);
      if (way === 'wide') {
        const paper = path.join(shots, `taken-${which}.pdf`);
        await sheet.pdf({ path: paper, format: 'A4' });
        const text = execFileSync('pdftotext', [paper, '-'], { maxBuffer: 1 << 26 }).toString().replace(/\s+/g, ' ');
        if (which === 'rich') ok(text.includes(facts.said), 'the printed file does not hold what was said');
      }
      await disk.close();
    }
  }
  rmSync(folder, { recursive: true });
  await context.close();
}
