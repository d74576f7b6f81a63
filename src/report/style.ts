/** Style sheet of the report: light and dark by the reader's preference, one column on a phone. */
export const style = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --line: #e1e4ea; --text: #181c24; --muted: #5d6675; --accent: #2563eb;
  --right: #15803d; --wrong: #c81e1e; --warn-line: #e5b454; --warn: #fff6e0; --warn-text: #6b4700;
  --series-0: #2563eb; --series-1: #c2570c; --series-2: #0f8a5f; --series-3: #a21caf; --series-4: #b91c1c; --series-5: #4b5563;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101319; --card: #181c24; --line: #2c323e; --text: #e8eaf0; --muted: #9aa4b5; --accent: #7aa2ff;
    --right: #34c26b; --wrong: #ff6b6b; --warn-line: #8a6a1f; --warn: #2c2410; --warn-text: #f3d48a;
    --series-0: #7aa2ff; --series-1: #f59e5b; --series-2: #4cc9a0; --series-3: #e08bf0; --series-4: #ff7b7b; --series-5: #b4bccb;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 36px 0 12px; }
h3 { font-size: 14px; margin: 0 0 8px; color: var(--muted); font-weight: 600; }
p { margin: 0 0 6px; }
.muted { color: var(--muted); }
.scroll + .muted { margin: 10px 0 0; font-size: 13px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; min-width: 0; }
.warning { background: var(--warn); border: 1px solid var(--warn-line); color: var(--warn-text); border-radius: 10px; padding: 12px 16px; margin: 16px 0 0; }
.grid { display: grid; gap: 16px; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.grid > :only-child { grid-column: 1 / -1; }
.figures { display: grid; gap: 16px; grid-template-columns: repeat(4, minmax(0, 1fr)); margin-top: 24px; }
.figures dt { color: var(--muted); font-size: 13px; }
.figures dd { margin: 0; font-size: 30px; line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums; }
.figures small { display: block; font-size: 13px; font-weight: 400; color: var(--muted); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 0 6px 16px; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td { white-space: nowrap; }
th, h1, h3 { overflow-wrap: break-word; }
thead th { color: var(--muted); font-weight: 600; font-size: 13px; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
.scroll { overflow-x: auto; }
.settings { columns: 3; column-gap: 32px; margin: 0; }
.settings div { display: flex; justify-content: space-between; gap: 12px; padding: 4px 0; border-bottom: 1px solid var(--line); break-inside: avoid; }
.settings dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
.settings dt { color: var(--muted); }
.settings dt, .settings dd { overflow-wrap: anywhere; }
.ranked { margin-top: 12px; }
.ranked ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 10px; grid-template-columns: repeat(11, minmax(0, 1fr)); }
.ranked li { min-width: 0; font-size: 12px; color: var(--muted); text-align: center; font-variant-numeric: tabular-nums; }
.shot { position: relative; border: 3px solid var(--accent); border-radius: 6px; overflow: hidden; aspect-ratio: 3 / 7; display: grid; place-items: center; margin-bottom: 3px; }
.shot img { width: 100%; height: 100%; display: block; position: absolute; inset: 0; }
.shot svg { position: absolute; top: 0; right: 0; width: 22px; height: 22px; padding: 2px; border-bottom-left-radius: 6px; fill: none; stroke: #fff; stroke-width: 2.4; }
.right .shot { border-color: #15803d; } .right svg { background: #15803d; }
.wrong .shot { border-color: #c81e1e; } .wrong svg { background: #c81e1e; }
header + .legend { margin-top: 16px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; }
.legend b.right { color: var(--right); } .legend b.wrong { color: var(--wrong); } .legend b.query { color: var(--accent); }
.maps { display: grid; gap: 10px; grid-template-columns: repeat(auto-fill, minmax(max(76px, (100% - 10px * (var(--columns) - 1)) / var(--columns)), 1fr)); }
.maps + h3 { margin-top: 18px; }
.maps figure { margin: 0; min-width: 0; }
.maps img { width: 100%; max-height: 400px; height: auto; display: block; border-radius: 4px; }
.maps figcaption { font-size: 12px; line-height: 1.35; color: var(--muted); margin-top: 3px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.scale { display: inline-block; width: 120px; height: 10px; border-radius: 3px; margin: 0 4px; }
.chart { min-height: 300px; }
.plots { margin-top: 16px; }
header + .muted { margin-top: 14px; }
.wide { font-size: 13.5px; } .wide :is(th, td):not(:first-child) { padding-left: 11px; } .wide th[scope="row"] { white-space: nowrap; } .wide thead th { vertical-align: bottom; }
.note { margin: 10px 0 0; font-size: 13px; }
.dots { width: 100%; height: auto; display: block; font-size: 12.5px; fill: var(--text); }
.dots .tick { fill: var(--muted); } .dots .rule { stroke: var(--line); }
.dots .bar { stroke: var(--series-0); stroke-width: 5; opacity: .3; } .dots .mean { stroke: var(--series-0); stroke-width: 2.5; }
.dots circle { fill: none; stroke: var(--series-1); stroke-width: 1.6; }
.uplot .u-legend { text-align: left; font-size: 13px; color: var(--text); margin-top: 6px; }
.u-legend .u-series > * { padding: 2px 4px; }
.u-legend th, .u-legend td { border: 0; text-align: left; }
.uplot .u-inline .u-series th::after { content: ""; }
.u-legend .u-value { color: var(--muted); }
@media (max-width: 760px) {
  main { padding: 20px 14px 32px; }
  .grid { grid-template-columns: minmax(0, 1fr); }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .settings { columns: 1; }
  .ranked ol { grid-template-columns: repeat(4, minmax(0, 1fr)); }
}
@media print { .card { break-inside: avoid; } }
`;
