// Without scripts: from the list to a transcript, a search, a hit, a person, another time zone; by links and forms alone.
export default async function noscript({ facts, open, visit, ok, all }) {
  const { page, context, problems } = await open({ javaScriptEnabled: false, acceptDownloads: true });
  const main = page.getByRole('main');
  for (const name of Object.keys(facts.pages)) {
    await visit(page, name);
    ok((await main.innerText()).trim().length > 40, `${name}: nearly empty without scripts`);
  }
  await page.goto('/');
  await page.getByRole('link', { name: facts.subject }).first().click();
  ok(page.url().includes(`/conversations/${facts.conversation}`), `the link leads to ${page.url()}`);
  ok((await main.innerText()).includes(facts.said), 'the transcript does not show what was said');

  // An earlier version opens.
  await page.locator('summary', { hasText: 'Edited' }).first().click();
  ok((await main.innerText()).includes('Renting costs 9,000 a week.'), 'an earlier version does not open');

  // Quiet lines go and come.
  const joined = page.locator('.line-joined');
  ok((await joined.count()) > 0, 'nobody is seen joining');
  await page.getByRole('link', { name: 'Hide Joins and leaves' }).click();
  ok((await joined.count()) === 0, 'joins cannot be hidden');

  // A day is gone to.
  await page.getByLabel('Go to day').fill('2026-11-21');
  await page.getByRole('button', { name: 'Go', exact: true }).click();
  ok((await main.innerText()).includes('The board has agreed to rent.'), 'the day does not show');

  await page.goto('/search');
  const box = page.getByRole('searchbox', { name: 'What are you looking for?' });
  await box.fill(facts.word);
  await box.press('Enter');
  ok(new URL(page.url()).searchParams.get('q') === facts.word, `the search's address is ${page.url()}`);
  const marked = await page.locator('main mark').allInnerTexts();
  ok(marked.some((text) => text.toLowerCase() === facts.word), `marked: ${marked.join(', ')}`);
  await page.locator('main .result a[href*="/conversations/"]').first().click();
  ok(page.url().includes('/conversations/'), `a hit leads to ${page.url()}`);
  ok((await page.locator('main mark').count()) > 0, 'the hit is not marked in its transcript');

  // Another zone is remembered.
  await page.goto('/settings');
  await page.getByLabel('Another zone').selectOption('Asia/Tokyo');
  await page.getByRole('button', { name: 'Use this zone' }).click();
  await page.goto(facts.pages.transcript);
  ok((await page.locator('footer').innerText()).includes('Tokyo'), 'the zone is not remembered');
  ok((await main.innerText()).includes('18:30'), '09:30 UTC is not 18:30 in Tokyo');
  all('without scripts', problems);
  await context.close();
}
