// Printed: what was said is on paper, what is only for the screen is not.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { shots } from './look.mjs';

export default async function print({ facts, open, ok }) {
  const { page, context } = await open();
  for (const name of ['conversations', 'transcript', 'search', 'integrity']) {
    await page.goto(facts.pages[name]);
    await page.emulateMedia({ media: 'print' });
    const file = path.join(shots, `${name}.pdf`);
    await page.pdf({ path: file, format: 'A4' });
    const text = execFileSync('pdftotext', ['-layout', file, '-']).toString();
    ok(text.length > 200, `${name}: the paper is nearly empty`);
    if (name === 'transcript') ok(text.replace(/\s+/g, ' ').includes(facts.said), 'the printed transcript does not hold what was said');
    const shown = await page.evaluate(() => [...document.querySelectorAll('nav, form')].filter((e) => e.getClientRects().length).length);
    ok(shown === 0, `${name}: ${shown} navigations or forms are printed`);
  }
  await context.close();
}
