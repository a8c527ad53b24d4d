// HTML validity of every page, and of a conversation taken away as HTML, by the Nu checker.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

// Strangers write as they like: how they compose letters, and in which language, is kept as it is.
const theirs = /Unicode Normalization Form C|appears to be written in/;

export default async function valid({ base, facts, ok, all }) {
  const folder = mkdtempSync(path.join(tmpdir(), 'greffier-valid-'));
  const jar = path.join(process.env.GREFFIER_BROWSER_MODULES, 'vnu-jar/build/dist/vnu.jar');
  const pages = { ...facts.pages };
  for (const [name, address] of Object.entries(facts.taken)) pages[`taken-${name}`] = address;
  const files = [];
  for (const [name, address] of Object.entries(pages)) {
    const answer = await fetch(new URL(address, base));
    const file = path.join(folder, `${name}.html`);
    writeFileSync(file, await answer.text());
    files.push(file);
  }
  const checked = spawnSync('java', ['-Xss4m', '-jar', jar, '--format', 'json', '--exit-zero-always', ...files], { maxBuffer: 1 << 26 });
  if (checked.error) throw checked.error;
  const { messages } = JSON.parse(checked.stderr.toString());
  ok(files.length > 0, 'no page was checked');
  for (const file of files) {
    const name = path.basename(file, '.html');
    const wrong = messages.filter((message) => message.url?.endsWith(`/${name}.html`) && (message.type !== 'info' || message.subType === 'warning') && !theirs.test(message.message));
    const told = wrong.map((message) => `line ${message.lastLine}: ${message.message}: ${message.extract?.slice(0, 160)}`);
    all(name, [...new Set(told)].slice(0, 8));
  }
  rmSync(folder, { recursive: true });
}
