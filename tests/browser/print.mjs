// Printed: what was said is on paper, also what is folded away on the screen; what is only for the screen is not.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { shots } from './look.mjs';

export default async function print({ facts, open, visit, ok }) {
  const { page, context } = await open();
  for (const name of ['conversations', 'transcript', 'transcript-hostile', 'event', 'search', 'people', 'person', 'integrity', 'statistics-all']) {
    await visit(page, name);
    await page.emulateMedia({ media: 'print' });
    const shown = await page.evaluate(() => [...document.querySelectorAll('nav, form, button')].filter((e) => e.getClientRects().length).map((e) => e.outerHTML.slice(0, 60)));
    ok(shown.length === 0, `${name}: printed although of no use on paper: ${shown.join(' | ')}`);
    const file = path.join(shots, `${name}.pdf`);
    await page.pdf({ path: file, format: 'A4' });
    await page.emulateMedia({ media: 'screen' });
    const text = execFileSync('pdftotext', ['-layout', file, '-'], { maxBuffer: 1 << 26 }).toString().replace(/\s+/g, ' ');
    ok(text.length > 200, `${name}: the paper is nearly empty`);
    if (name !== 'transcript') continue;
    ok(text.includes(facts.said), 'the printed transcript does not hold what was said');
    ok(text.includes('Renting costs 9,000 a week.'), 'the printed transcript does not hold the version before an edit');
    ok(text.includes('I would not trust that supplier'), 'the printed transcript does not hold what was deleted');
    ok(/Gap in the record/.test(text), 'the printed transcript does not hold the gap');
  }
  await context.close();
}
