/** The page's own script: draws each chart of the embedded JSON with uPlot, in the colours of the current scheme. */
export const script = `
"use strict";
const charts = JSON.parse(document.getElementById("charts").textContent);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const whole = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((power) => [power, 2 * power, 5 * power]);
const percent = (value) => (100 * value).toFixed(1) + " %";
const plain = (value) => Number(value.toPrecision(4)).toString();

function draw(chart, element) {
  const write = chart.unit === "percent" ? percent : plain;
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const names = chart.xNames;
  const fitted = (u, low, high) => [Math.floor(20 * low - 0.1) / 20, Math.min(1, Math.ceil(20 * high + 0.1) / 20)];
  const options = {
    width: element.clientWidth,
    height: 270,
    scales: {
      x: { time: false },
      y: chart.logarithmic ? { distr: 3 } : chart.unit === "percent" ? { range: names ? fitted : (u, low) => [Math.min(0.9, Math.floor(low * 10) / 10), 1] } : {},
    },
    axes: [
      { ...axis, incrs: whole, label: chart.xLabel, labelSize: 22, labelFont: axis.font, size: 32, ...(names && { values: (u, ticks) => ticks.map((tick) => names[tick] ?? "") }) },
      { ...axis, size: 62, values: (u, ticks) => ticks.map((tick) => (tick === null ? "" : chart.unit === "percent" ? Math.round(100 * tick) + " %" : plain(tick))) },
    ],
    cursor: { points: { size: 7 } },
    series: [
      { label: chart.xLabel, ...(names && { value: (u, place) => names[place] ?? "" }) },
      ...chart.series.map((series, i) => ({
        label: series.label,
        stroke: colour("--series-" + (i % 6)),
        dash: series.dashed ? [7, 4] : i < 6 ? [] : [2, 3],
        width: 2,
        spanGaps: true,
        points: { show: chart.x.length < 3 || (names !== undefined && !series.dashed) },
        value: (u, value) => (value === null ? "" : write(value)),
      })),
    ],
  };
  return new uPlot(options, [chart.x, ...chart.series.map((series) => series.values)], element);
}

for (const element of document.querySelectorAll("[data-chart]")) {
  const chart = charts[Number(element.dataset.chart)];
  let plot = draw(chart, element);
  new ResizeObserver(() => {
    if (element.clientWidth !== plot.width) plot.setSize({ width: element.clientWidth, height: plot.height });
  }).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    plot.destroy();
    plot = draw(chart, element);
  });
}
`;
