// Enlarged (WCAG 1.4.4, 1.4.10) and spaced (1.4.12): nothing is lost, nothing lies over something else.
import path from 'node:path';
import { shots } from './look.mjs';

const changes = {
  // 400 % of a window 1280 px wide.
  reflow: { viewport: { width: 320, height: 256 } },
  // Text at twice its size in a window of the same size.
  text: { viewport: { width: 1280, height: 900 }, css: ':root { font-size: 200% !important; }' },
  spacing: {
    viewport: { width: 1280, height: 900 },
    css: '* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important; } p { margin-bottom: 2em !important; }',
  },
};

export default async function zoom({ facts, open, visit, ok, all }) {
  for (const [change, { viewport, css }] of Object.entries(changes)) {
    const { page, context, problems } = await open({ viewport });
    for (const name of Object.keys(facts.pages)) {
      await visit(page, name);
      // A sheet made by script is no part of the page, so its policy has no say in it: as a reader's own sheet.
      if (css) await page.evaluate((text) => { const sheet = new CSSStyleSheet(); sheet.replaceSync(text); document.adoptedStyleSheets = [sheet]; }, css);
      const found = await page.evaluate(() => {
        const problems = [];
        const wide = document.scrollingElement.scrollWidth - innerWidth;
        if (wide > 1) {
          const who = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1);
          problems.push(`${wide} px too wide: ${who.slice(0, 3).map((e) => `${e.tagName}.${e.className?.baseVal ?? e.className}`).join(', ')}`);
        }
        // Words of ours that are cut off. What strangers wrote may be clipped, for it may be endless.
        const ours = 'h1:not(.theirs), h2:not(.theirs), h3, th, td, dt, dd, summary, label, button, a.button, .mark, .chip, .tabs a, .sections a, .callout';
        for (const e of document.querySelectorAll(ours)) {
          if (e.querySelector('.theirs, bdi') || e.closest('.visually-hidden') || e.classList.contains('visually-hidden') || !e.getClientRects().length) continue;
          const style = getComputedStyle(e);
          const clips = ['hidden', 'clip'].includes(style.overflowX);
          const margin = style.overflowX === 'clip' ? parseFloat(style.overflowClipMargin) || 0 : 0;
          if (clips && (e.scrollWidth > e.clientWidth + margin + 1 || e.scrollHeight > e.clientHeight + margin + 2)) problems.push(`cut off: ${e.tagName}.${e.className} ${e.innerText.slice(0, 40)}`);
        }
        // Controls that lie over each other.
        const controls = [...document.querySelectorAll('header a, header input, header button, main .t-tools a, main .t-tools input, main .t-tools button, main form input, main form select, main form button')]
          .filter((e) => e.type !== 'hidden' && e.checkVisibility() && !(e.closest('details:not([open])') && !e.closest('summary')))
          .map((e) => [e, e.getBoundingClientRect()]);
        for (const [at, [a, ra]] of controls.entries()) {
          for (const [b, rb] of controls.slice(at + 1)) {
            const over = Math.min(ra.right, rb.right) - Math.max(ra.left, rb.left) > 2 && Math.min(ra.bottom, rb.bottom) - Math.max(ra.top, rb.top) > 2;
            if (over && !a.contains(b) && !b.contains(a)) problems.push(`${a.tagName} ${a.innerText || a.name} lies over ${b.tagName} ${b.innerText || b.name}`);
          }
        }
        return problems;
      });
      all(`${name} (${change})`, found.slice(0, 5));
      if (['conversations', 'transcript', 'search', 'statistics-all'].includes(name)) {
        await page.screenshot({ path: path.join(shots, `${name}-${change}.png`), fullPage: true });
      }
    }
    all(change, problems);
    ok(true, change);
    await context.close();
  }
}
