// What a browser sees of one page: problems as sentences, and a screenshot.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.join(process.env.GREFFIER_BROWSER_MODULES, 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

export const shots = process.env.GREFFIER_BROWSER_SHOTS;
mkdirSync(shots, { recursive: true });

const quiet = [
  '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

export function launch() {
  return chromium.launch({ executablePath: process.env.GREFFIER_CHROMIUM ?? '/usr/bin/chromium', args: quiet });
}

// The ways in which people look: name → options of a browser context.
export const ways = {
  wide: { viewport: { width: 1280, height: 900 } },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' },
  narrow: { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
};

// A page that collects what must never happen: script errors, dialogs, broken rules of the content policy, requests that
// leave the viewer, files that fail to load.
export async function open(browser, base, options = {}) {
  const context = await browser.newContext({ baseURL: base, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  const problems = [];
  page.on('console', (message) => {
    if (message.type() === 'error' && !(page.expectStatus && /status of/.test(message.text()))) {
      problems.push(`console: ${message.text()}`);
    }
  });
  page.on('pageerror', (error) => problems.push(`script error: ${error.message}`));
  page.on('dialog', (dialog) => {
    problems.push(`a dialog opened: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(base) && !url.startsWith('data:')) problems.push(`a request left the viewer: ${url}`);
  });
  return { page, context, problems };
}

// Rules that every page keeps, whoever looks at it.
// A page that stands `alone` carries its own style.
export async function inspect(page, { alone = false } = {}) {
  const problems = await page.evaluate((alone) => {
    const found = [];
    const say = (problem) => found.push(problem);
    if (!document.documentElement.lang) say('no lang on <html>');
    if (!document.title.trim()) say('no title');
    if (document.querySelectorAll('h1').length !== 1) say(`${document.querySelectorAll('h1').length} h1`);
    if (document.querySelectorAll('main').length !== 1) say('not exactly one main');
    let level = 0;
    for (const heading of document.querySelectorAll('h1,h2,h3,h4,h5,h6')) {
      const now = Number(heading.tagName[1]);
      if (now > level + 1) say(`heading ${heading.tagName} follows level ${level}`);
      level = now;
    }
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
    if (twice.length) say(`ids used twice: ${[...new Set(twice)].slice(0, 5).join(' ')}`);
    const wide = document.scrollingElement.scrollWidth;
    if (wide > window.innerWidth + 1) {
      const who = [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1);
      say(`the page is ${wide} px wide on a screen of ${window.innerWidth}: ${who.slice(0, 3).map((e) => `${e.tagName}.${e.className}`).join(', ')}`);
    }
    for (const element of document.querySelectorAll('*')) {
      for (const { name, value } of element.attributes) {
        if (name.startsWith('on')) say(`attribute ${name} on ${element.tagName}`);
        if (name === 'style') say(`style attribute on ${element.tagName}`);
        if (['href', 'src', 'action', 'formaction'].includes(name) && /^\s*(javascript|vbscript|data):/i.test(value) && element.tagName !== 'IMG') {
          say(`${name} of ${element.tagName} is ${value.slice(0, 20)}`);
        }
      }
    }
    if (document.querySelectorAll(alone ? 'script' : 'script:not([src]), style').length) say('inline script or style');
    return found;
  }, alone);
  return problems;
}

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa', 'best-practice'];

// axe-core: WCAG 2.2 AA and its best practices.
export async function accessible(page) {
  await page.evaluate(axe);
  const report = await page.evaluate((tags) => window.axe.run(document, { runOnly: { type: 'tag', values: tags } }), TAGS);
  return report.violations.map((violation) => {
    const node = violation.nodes[0];
    return `axe ${violation.id} (${violation.impact}): ${violation.help}; ${violation.nodes.length} places, first ${node.target.join(' ')}: ${node.html.slice(0, 160)}`;
  });
}
