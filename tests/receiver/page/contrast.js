// Evaluates to the texts of the page whose contrast is below WCAG AA: [[class and text, ratio], ...].
(() => {
  const parts = (text) => (text.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const channel = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const over = (top, ground, alpha = top[3] ?? 1) => [0, 1, 2].map((i) => top[i] * alpha + ground[i] * (1 - alpha));
  const ancestors = (node) => (node ? [...ancestors(node.parentElement), node] : []);
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim();
    const node = walk.currentNode.parentElement;
    if (!text || node.closest(".unseen, .skip, [hidden], noscript, title") || !node.getBoundingClientRect().width) continue;
    const style = getComputedStyle(node);
    if (style.visibility === "hidden") continue;
    const chain = ancestors(node).map((one) => getComputedStyle(one));
    const ground = chain.reduce((colour, one) => over(parts(one.backgroundColor), colour), [255, 255, 255]);
    const colour = parts(node instanceof SVGElement ? style.fill : style.color);
    const opacity = chain.reduce((product, one) => product * Number(one.opacity), colour[3] ?? 1);
    const [bright, dim] = [light(over(colour, ground, opacity)), light(ground)].sort((a, b) => b - a);
    const ratio = (bright + 0.05) / (dim + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) bad.push([`${node.className.baseVal ?? node.className}: ${text.slice(0, 40)}`, ratio.toFixed(2)]);
  }
  return bad;
})();
