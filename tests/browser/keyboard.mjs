// By keyboard alone: a visible focus on everything that can be reached, in an order that follows the page; shortcuts.
const STEPS = 60;

export default async function keyboard({ facts, open, visit, ok, all }) {
  const { page, context, problems } = await open({ viewport: { width: 1280, height: 900 }, permissions: ['clipboard-read', 'clipboard-write'] });
  for (const name of Object.keys(facts.pages)) {
    // Pages that begin somewhere else than at their top are reached below.
    if (/-at$|-middle$|-query$/.test(name)) continue;
    await visit(page, name);
    const seen = [];
    for (let step = 0; step < STEPS; step += 1) {
      await page.keyboard.press('Tab');
      const focus = await page.evaluate(() => {
        const element = document.activeElement;
        if (!element || element === document.body) return null;
        const drawn = (style) => (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
        // A link whose row takes the click draws its ring around the row; a bar of a drawing, around its slot.
        const slot = element.querySelector('.slot');
        const ring = drawn(getComputedStyle(element)) || drawn(getComputedStyle(element, '::after')) || (slot && getComputedStyle(slot).strokeWidth === '3px');
        const box = element.getBoundingClientRect();
        const inView = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
        // What covers its middle must belong to it, or the reader cannot see where they are.
        const on = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
        const covered = on && !element.contains(on) && !on.contains(element);
        const text = (element.innerText ?? element.value ?? element.textContent ?? '').trim().slice(0, 30);
        const what = `${element.tagName}.${element.className?.baseVal ?? element.className} ${text}`;
        return { what, ring, seen: box.width > 0 && box.height > 0 && inView, covered, href: element.getAttribute('href'), top: box.top + scrollY };
      });
      if (!focus) break;
      seen.push(focus);
      ok(focus.ring, `${name}: no visible focus on ${focus.what}`);
      ok(focus.seen, `${name}: focus is on something invisible: ${focus.what}`);
      ok(!focus.covered, `${name}: something covers the focused ${focus.what}`);
    }
    // The search page begins in its box.
    if (name !== 'search-start') ok(seen[0]?.href?.startsWith('#'), `${name}: the first stop is no skip link but ${seen[0]?.what}`);
  }

  // The skip link leads past the header.
  await page.goto('/');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  ok(await page.evaluate(() => document.activeElement.closest('main') !== null), 'the skip link leads nowhere');

  await page.keyboard.press('/');
  ok(await page.evaluate(() => document.activeElement?.matches('input[type=search]')), '/ does not lead to a search box');
  await page.keyboard.type('j?');
  ok((await page.evaluate(() => document.activeElement.value)) === 'j?', 'keys do something while one writes');

  await page.goto(facts.pages.transcript);
  const focused = () => page.evaluate(() => document.activeElement?.id);
  await page.keyboard.press('j');
  const first = await focused();
  await page.keyboard.press('j');
  const second = await focused();
  ok(/^e\d+$/.test(first) && /^e\d+$/.test(second) && first !== second, `j leads to ${first}, then ${second}`);
  await page.keyboard.press('k');
  ok((await focused()) === first, 'k does not lead back');
  await page.keyboard.press('y');
  const status = page.getByText('Link copied');
  await status.first().waitFor({ state: 'attached' });
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  ok(copied.endsWith(`#${first}`), `y copies ${copied}`);
  await page.goto(copied);
  ok((await focused()) === first, `the copied link leads to ${await focused()}, not ${first}`);

  await page.keyboard.press('?');
  const dialog = page.getByRole('dialog');
  ok(await dialog.isVisible(), '? opens no help');
  await page.keyboard.press('Escape');
  ok(!(await dialog.isVisible()), 'Escape does not close the help');

  // A menu opens and closes by keyboard, and its links can be reached.
  await page.goto(facts.pages.transcript);
  const menu = page.locator('summary', { hasText: 'Export' });
  await menu.focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  ok(await page.evaluate(() => /\/export\?/.test(document.activeElement.href)), 'the export menu cannot be reached');

  // Next and previous hit.
  await page.goto(facts.pages['transcript-query']);
  const place = page.url();
  await page.keyboard.press('n');
  await page.waitForURL((url) => url.href !== place);
  const next = page.url();
  await page.keyboard.press('p');
  await page.waitForURL((url) => url.href !== next);
  ok(/[?&]q=crane/.test(page.url()), `p leads to ${page.url()}`);
  all('by keyboard', problems);
  await context.close();
}
