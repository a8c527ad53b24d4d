// A conversation full of attacks: nothing runs, nothing leaves, nothing pretends to be the viewer.
export default async function hostile({ facts, open, ok, all }) {
  for (const address of facts.hostile) {
    const { page, context, problems } = await open({ viewport: { width: 360, height: 740 } });
    await page.goto(address);
    ok((await page.evaluate(() => globalThis.pwned)) === undefined, `${address}: a script of a message ran`);
    const foreign = await page.evaluate(() => [...document.querySelectorAll('main a[href]')]
      .filter((a) => a.origin !== location.origin)
      .filter((a) => !['http:', 'https:', 'mailto:', 'sip:', 'tel:'].includes(a.protocol) || !/noopener/.test(a.rel)).map((a) => a.outerHTML.slice(0, 120)));
    all(address, foreign.map((link) => `an unsafe link: ${link}`));
    const loaded = await page.evaluate(() => document.querySelectorAll('main img, main iframe, main object, main embed, main video, main audio, main form[action^="http"]').length);
    ok(loaded === 0, `${address}: ${loaded} foreign objects`);
    // Stacked marks (zalgo) and huge words stay in their place.
    const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - window.innerWidth);
    ok(wide <= 1, `${address}: ${wide} px too wide`);
    const covered = await page.evaluate(() => {
      const header = document.querySelector('header');
      const box = header.getBoundingClientRect();
      const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
      return !header.contains(top) && !top?.contains(header);
    });
    ok(!covered, `${address}: something lies over the header`);
    all(address, problems);
    await context.close();
  }
}
