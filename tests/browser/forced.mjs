// With the reader's own colours (forced-colors) and without motion: what is told by colour or movement is told otherwise too.
import path from 'node:path';
import { shots } from './look.mjs';

export default async function forced({ facts, open, visit, ok, all }) {
  const { page, context, problems } = await open({ viewport: { width: 1280, height: 900 }, forcedColors: 'active', reducedMotion: 'reduce' });
  for (const name of Object.keys(facts.pages)) {
    await visit(page, name);
    const found = await page.evaluate(() => {
      const problems = [];
      for (const e of document.querySelectorAll('main *')) {
        const style = getComputedStyle(e);
        const moves = style.animationName !== 'none' || style.transitionDuration.split(',').some((time) => parseFloat(time) > 0);
        if (moves) problems.push(`${e.tagName}.${e.className?.baseVal ?? e.className} moves`);
      }
      // A mark has words, and a sign that is drawn.
      for (const e of document.querySelectorAll('.mark')) {
        if (!e.textContent.trim()) problems.push('a mark without words');
      }
      // What is switched on looks other than what is off.
      const signs = (on) => [...document.querySelectorAll(on ? '.toggle.is-on' : '.toggle:not(.is-on)')].map((e) => getComputedStyle(e, '::before').backgroundColor);
      if (signs(true).some((sign) => signs(false).includes(sign))) problems.push('switches on and off look the same');
      // Bars are told apart from the ground.
      for (const e of document.querySelectorAll('.bar, .stay-bar, .stay-gap')) {
        if (getComputedStyle(e).fill === getComputedStyle(document.body).backgroundColor) problems.push(`${e.className.baseVal} cannot be seen`);
      }
      // What is chosen is told to who does not see colours.
      for (const e of document.querySelectorAll('.sections a, .tabs a')) {
        const chosen = e.hasAttribute('aria-current');
        const told = getComputedStyle(e).borderStyle !== 'none' || parseInt(getComputedStyle(e).fontWeight, 10) > 500 || getComputedStyle(e).outlineStyle !== 'none';
        if (chosen && !told) problems.push(`${e.innerText} is chosen by colour alone`);
      }
      return problems;
    });
    all(name, [...new Set(found)].slice(0, 5));
    if (['conversations', 'transcript', 'integrity', 'statistics-all', 'search'].includes(name)) {
      await page.screenshot({ path: path.join(shots, `${name}-forced.png`), fullPage: true });
    }
  }
  ok(true, 'looked');
  all('forced colours', problems);
  await context.close();
}
