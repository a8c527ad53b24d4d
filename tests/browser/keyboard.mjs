// By keyboard alone: a visible focus on everything that can be reached, in an order that follows the page; shortcuts.
export default async function keyboard({ facts, open, ok, all }) {
  const { page, context, problems } = await open({ viewport: { width: 1280, height: 900 } });
  for (const [name, address] of Object.entries(facts.pages)) {
    await page.goto(address);
    page.expectStatus = (facts.statuses?.[name] ?? 200) !== 200;
    const seen = [];
    for (let step = 0; step < 40; step += 1) {
      await page.keyboard.press('Tab');
      const focus = await page.evaluate(() => {
        const element = document.activeElement;
        if (!element || element === document.body) return null;
        const style = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        const ring = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
        return { what: `${element.tagName} ${(element.innerText ?? element.value ?? '').trim().slice(0, 30)}`, ring, seen: box.width > 0 && box.height > 0 && box.bottom > 0, href: element.getAttribute?.('href') };
      });
      if (!focus) break;
      seen.push(focus);
      ok(focus.ring, `${name}: no visible focus on ${focus.what}`);
      ok(focus.seen, `${name}: focus is on something invisible: ${focus.what}`);
    }
    ok(seen[0]?.href?.startsWith('#'), `${name}: the first stop is no skip link but ${seen[0]?.what}`);
  }
  await page.goto('/');
  await page.keyboard.press('/');
  ok(await page.evaluate(() => document.activeElement?.matches('input[type=search]')), '/ does not lead to the search box');
  await page.goto(facts.pages.transcript);
  await page.keyboard.press('j');
  const first = await page.evaluate(() => document.activeElement?.id);
  await page.keyboard.press('j');
  const second = await page.evaluate(() => document.activeElement?.id);
  ok(/^e\d+$/.test(first) && /^e\d+$/.test(second) && first !== second, `j leads to ${first}, then ${second}`);
  await page.keyboard.press('k');
  ok((await page.evaluate(() => document.activeElement?.id)) === first, 'k does not lead back');
  await page.keyboard.press('?');
  const dialog = page.getByRole('dialog');
  ok(await dialog.isVisible(), '? opens no help');
  await page.keyboard.press('Escape');
  ok(!(await dialog.isVisible()), 'Escape does not close the help');
  all('by keyboard', problems.filter((problem) => !/status of/.test(problem)));
  await context.close();
}
