// Without scripts: from the list to a transcript, from there to a search, by links and forms alone.
export default async function noscript({ facts, open, ok, all }) {
  const { page, context, problems } = await open({ javaScriptEnabled: false });
  await page.goto('/');
  await page.getByRole('link', { name: facts.subject }).first().click();
  ok(page.url().includes(`/conversations/${facts.conversation}`), `the link leads to ${page.url()}`);
  ok((await page.getByRole('main').innerText()).includes(facts.said), 'the transcript does not show what was said');
  await page.goto('/search');
  await page.getByRole('searchbox').first().fill(facts.word);
  await page.getByRole('searchbox').first().press('Enter');
  await page.waitForLoadState();
  ok(new URL(page.url()).searchParams.get('q') === facts.word, `the search's address is ${page.url()}`);
  const marked = await page.locator('main mark').allInnerTexts();
  ok(marked.some((text) => text.toLowerCase() === facts.word.toLowerCase()), `marked: ${marked.join(', ')}`);
  await page.locator('main a[href*="/conversations/"]:has-text("")').first().click();
  ok(page.url().includes('/conversations/'), `a hit leads to ${page.url()}`);
  all('without scripts', problems);
  await context.close();
}
