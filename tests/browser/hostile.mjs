// Pages full of attacks: nothing runs, nothing leaves, nothing pretends to be the viewer.
export default async function hostile({ facts, open, ok, all }) {
  for (const width of [1280, 360]) {
    const { page, context, problems } = await open({ viewport: { width, height: 740 } });
    for (const address of facts.hostile) {
      const where = `${address} (${width})`;
      await page.goto(address);
      // Handlers that wait for the pointer or the focus get both.
      for (const place of await page.locator('main .said, main .result').all()) {
        if (await place.isVisible()) await place.dispatchEvent('mouseover');
      }
      const found = await page.evaluate(() => {
        const sane = ['http:', 'https:', 'mailto:', 'sip:', 'sips:', 'tel:'];
        const links = [...document.querySelectorAll('main a[href]')].filter((a) => new URL(a.getAttribute('href'), location.href).origin !== location.origin);
        const header = document.querySelector('header').getBoundingClientRect();
        const top = document.elementFromPoint(header.left + header.width / 2, header.top + header.height / 2);
        return {
          pwned: globalThis.pwned !== undefined,
          links: links.filter((a) => !sane.includes(a.protocol) || !/noopener/.test(a.rel)).map((a) => a.outerHTML.slice(0, 120)),
          // A link that leads elsewhere says where.
          silent: links.filter((a) => !a.textContent.includes(a.hostname) && !a.parentElement.textContent.includes(a.hostname)).map((a) => a.outerHTML.slice(0, 120)),
          objects: document.querySelectorAll('main img, main iframe, main object, main embed, main video, main audio, main form[action^="http"], main style').length,
          wide: document.scrollingElement.scrollWidth - innerWidth,
          covered: !top?.closest('header'),
          headings: document.querySelectorAll('h1').length,
          // Strangers may name neither an element nor a class.
          ids: document.querySelectorAll('.said [id], .said [class]:not(.host), .said [style]').length,
          // Marks piled on letters and runs of lines stay in their block.
          spilt: [...document.querySelectorAll('.said')].filter((said) => getComputedStyle(said).overflow === 'visible').length,
          tall: Math.max(0, ...[...document.querySelectorAll('.msg')].map((one) => one.offsetHeight)),
        };
      });
      ok(!found.pwned, `${where}: a script of a message ran`);
      all(where, found.links.map((link) => `an unsafe link: ${link}`));
      all(where, found.silent.map((link) => `a link that does not say where it leads: ${link}`));
      ok(found.objects === 0, `${where}: ${found.objects} foreign objects`);
      ok(found.wide <= 1, `${where}: ${found.wide} px too wide`);
      ok(!found.covered, `${where}: something lies over the header`);
      ok(found.headings === 1, `${where}: ${found.headings} h1`);
      ok(found.ids === 0, `${where}: ${found.ids} elements of strangers with id, class or style`);
      ok(found.spilt === 0, `${where}: ${found.spilt} texts can spill out of their box`);
      ok(found.tall < 20000, `${where}: one message is ${found.tall} px high`);
      all(where, problems.splice(0));
    }
    await context.close();
  }
}
