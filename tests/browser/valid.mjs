// HTML validity of every page, by the Nu checker.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export default async function valid({ base, facts, ok, all }) {
  const folder = mkdtempSync(path.join(tmpdir(), 'greffier-valid-'));
  const jar = path.join(process.env.GREFFIER_BROWSER_MODULES, 'vnu-jar/build/dist/vnu.jar');
  const files = [];
  for (const [name, address] of Object.entries(facts.pages)) {
    const answer = await fetch(new URL(address, base));
    const file = path.join(folder, `${name}.html`);
    writeFileSync(file, await answer.text());
    files.push(file);
  }
  const checked = spawnSync('java', ['-jar', jar, '--format', 'json', '--exit-zero-always', ...files], { maxBuffer: 1 << 26 });
  if (checked.error) throw checked.error;
  const report = checked.stderr.toString();
  const messages = JSON.parse(report).messages;
  ok(files.length > 0, 'no page was checked');
  for (const file of files) {
    const name = path.basename(file, '.html');
    const wrong = messages.filter((message) => message.url.endsWith(`/${name}.html`) && message.type !== 'info');
    all(name, wrong.map((message) => `line ${message.lastLine}: ${message.message}: ${message.extract?.slice(0, 120)}`));
  }
}
