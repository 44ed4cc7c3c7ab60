// Keeps the status page current, and draws what the figures were before. Without it the page says the same
// in tables, of the moment at which it was loaded.
//
// Everything that comes from the server is put in as text: what was refused was sent by strangers.
'use strict';

(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = 'http://www.w3.org/2000/svg';
  const NB = '\u00a0';
  const NONE = '\u2013';

  // ---- Elements

  function build(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    for (const child of children) {
      if (child !== null) node.append(child);
    }
    return node;
  }
  const html = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);
  function say(node, text) {
    if (node && node.textContent !== text) node.textContent = text;
  }

  // ---- Figures as people say them, as the server says them

  const grouped = (number) => String(Math.round(number)).replace(/\B(?=(\d{3})+(?!\d))/g, '\u202f');
  function decimal(number) {
    if (number === 0) return '0';
    if (number < 9.995) return number.toFixed(2);
    return number < 99.95 ? number.toFixed(1) : grouped(number);
  }
  function bytes(number) {
    let unit = 'B';
    for (const larger of ['KiB', 'MiB', 'GiB', 'TiB']) {
      if (number < 1000) break;
      [number, unit] = [number / 1024, larger];
    }
    return (unit !== 'B' && number < 99.95 ? number.toFixed(1) : grouped(number)) + NB + unit;
  }
  function latency(micros) {
    if (micros < 1000) return Math.round(micros) + NB + '\u00b5s';
    return micros < 1e6 ? (micros / 1e3).toFixed(1) + NB + 'ms' : (micros / 1e6).toFixed(2) + NB + 's';
  }
  const percent = (number) => (number > 0 && number < 9.5 ? number.toFixed(1) : grouped(number)) + NB + '%';
  function span(seconds) {
    const days = Math.floor(seconds / 86400);
    const hours = Math.floor((seconds / 3600) % 24);
    const minutes = Math.floor((seconds / 60) % 60);
    if (days) return `${days} d ${hours} h`;
    if (hours) return `${hours} h ${minutes} min`;
    return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
  }
  const two = (number) => String(number).padStart(2, '0');
  function clock(millis, withSeconds) {
    const date = new Date(millis);
    const text = `${two(date.getHours())}:${two(date.getMinutes())}`;
    return withSeconds ? `${text}:${two(date.getSeconds())}` : text;
  }
  const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

  // ---- What is known

  let fine = [];
  let coarse = [];
  let keep = 300;
  let state = null;
  let range = 'fine';
  const RANGES = { fine: { word: '5 minutes', span: 300, step: 1, tick: 60 },
    coarse: { word: '2 hours', span: 7200, step: 30, tick: 1800 } };
  const shown = () => (range === 'fine' ? fine : coarse);

  // ---- Charts. The names of a sample: t end (ms), s seconds, r requests by class, n timed, l percentiles
  // in microseconds, x refusals by reason, b bytes in and out, a active, c connections, m held, rss, cpu.

  const perSecond = (pick) => (sample) => pick(sample) / sample.s;
  const timed = (at) => (sample) => (sample.n ? sample.l[at] : null);

  function reasons(samples) {
    const all = new Map();
    for (const sample of samples) {
      for (const [reason, count] of Object.entries(sample.x)) all.set(reason, (all.get(reason) || 0) + count);
    }
    const names = [...all.entries()].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map((one) => one[0]);
    const first = names.slice(0, 4).sort();
    const series = first.map((name, at) => ({ name, style: `c${at + 1}`, value: perSecond((it) => it.x[name] || 0) }));
    if (names.length > 4) {
      const rest = names.slice(4);
      series.push({ name: 'others', style: 'c5', value: perSecond((it) => sum(rest.map((name) => it.x[name] || 0))) });
    }
    return series.length ? series : [{ name: 'none', style: 'c1', value: () => 0 }];
  }

  const CHARTS = [
    { id: 'rate', title: 'Requests per second', stacked: true, say: decimal, least: 1, series: () => [
      { name: '2xx', style: 'c1', value: perSecond((it) => it.r[1]) },
      { name: '3xx', style: 'c2', value: perSecond((it) => it.r[2]) },
      { name: '4xx', style: 'c4', value: perSecond((it) => it.r[3]) },
      { name: '5xx', style: 'wrong', value: perSecond((it) => it.r[4]) },
      { name: 'other', style: 'c5', value: perSecond((it) => it.r[0] + it.r[5]) }] },
    { id: 'latency', title: 'Latency', say: latency, least: 100, series: () => [
      { name: 'p50', style: 'line3', value: timed(0) },
      { name: 'p95', style: 'line2', value: timed(1) },
      { name: 'p99', style: 'line1', value: timed(2) }] },
    { id: 'connections', title: 'Connections', stacked: true, say: grouped, least: 4, whole: true, series: () => [
      { name: 'HTTP/1.1', style: 'c1', value: (it) => it.c[1] },
      { name: 'HTTP/2', style: 'c2', value: (it) => it.c[2] },
      { name: 'silent', style: 'c4', value: (it) => it.c[0] }] },
    { id: 'refused', title: 'Refusals per second', stacked: true, say: decimal, least: 1, series: reasons },
    { id: 'memory', title: 'Memory', say: bytes, least: 65536, binary: true,
      limit: () => state && state.bound && { value: state.bound, word: 'bound' }, series: () => [
        { name: 'held for clients', style: 'c1', area: true, value: (it) => it.m },
        { name: 'resident', style: 'line2', value: (it) => it.rss }] },
    { id: 'cpu', title: 'CPU', say: percent, least: 10,
      limit: () => state && state.cpus && { value: state.cpus * 100, word: 'all CPUs' }, series: () => [
        { name: 'used', style: 'c1', area: true, value: (it) => (it.cpu / it.s) * 100 }] },
  ];

  /** A round number at or above `most`, and what to divide it by. */
  function scale(most, binary) {
    const base = binary ? 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(most, 1)) / 10)) : 1;
    const of = most / base;
    const power = 10 ** Math.floor(Math.log10(of));
    const factor = [1, 2, 3, 4, 5, 6, 8, 10].find((one) => one * power >= of * 0.999) || 10;
    const top = factor * power * base;
    return { top, parts: { 1: 2, 2: 2, 3: 3, 4: 2, 5: 5, 6: 3, 8: 4, 10: 2 }[factor] };
  }

  /** Where values are missing, or samples are far apart, the line is interrupted. */
  function pieces(points, apart) {
    const all = [];
    let piece = [];
    for (const point of points) {
      const gap = piece.length && point.t - piece[piece.length - 1].t > apart;
      if ((point.top === null || gap) && piece.length) {
        all.push(piece);
        piece = [];
      }
      if (point.top !== null) piece.push(point);
    }
    if (piece.length) all.push(piece);
    return all;
  }

  class Chart {
    constructor(definition) {
      this.definition = definition;
      const { id, title } = definition;
      this.title = svg('title', { id: `${id}-t` }, title);
      this.desc = svg('desc', { id: `${id}-d` });
      this.layer = svg('g');
      this.cursor = svg('line', { class: 'cursor', visibility: 'hidden' });
      this.svg = svg('svg', { role: 'img', 'aria-labelledby': `${id}-t ${id}-d`, class: 'plot', id: `plot-${id}` },
        this.title, this.desc, this.layer, this.cursor);
      this.legend = html('ul', { class: 'legend' });
      this.when = html('span', { class: 'when' });
      this.table = html('tbody');
      this.columns = html('tr');
      this.details = html('details', {}, html('summary', {}, 'As a table'),
        html('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': `${title}, as a table` },
          html('table', {}, html('caption', {}, title), html('thead', {}, this.columns), this.table)));
      this.figure = html('div', { class: 'chart' },
        html('div', { class: 'bar' }, html('h3', {}, title), this.when), this.svg, this.legend, this.details);
      this.details.addEventListener('toggle', () => this.tabulate());
      this.svg.addEventListener('pointermove', (event) => this.point(event));
      this.svg.addEventListener('pointerleave', () => this.point(null));
      this.at = null;
    }

    draw() {
      const { definition } = this;
      const samples = shown();
      const width = Math.max(200, Math.round(this.figure.clientWidth) - 2);
      const height = 150;
      const [left, right, top, bottom] = [58, 6, 8, 20];
      const { span: seconds, step, tick } = RANGES[range];
      const end = samples.length ? samples[samples.length - 1].t : Date.now();
      const begin = end - seconds * 1000;
      const series = definition.series(samples);
      const inside = samples.filter((sample) => sample.t > begin);
      const floor = new Array(inside.length).fill(0);
      const lines = series.map((one) => inside.map((sample, place) => {
        const value = one.value(sample);
        const under = floor[place];
        if (definition.stacked) floor[place] += value || 0;
        return { t: sample.t, value, under: definition.stacked ? under : 0,
          top: definition.stacked ? floor[place] : value };
      }));
      let most = Math.max(definition.least, ...lines.flat().map((point) => point.top || 0));
      const limit = definition.limit && definition.limit();
      const limited = limit && most > limit.value / 3;
      if (limited) most = Math.max(most, limit.value);
      const { top: highest, parts } = scale(most, definition.binary);
      const x = (t) => left + ((t - begin) / (seconds * 1000)) * (width - left - right);
      const y = (value) => top + (1 - value / highest) * (height - top - bottom);
      const xy = (point, value) => `${x(point.t).toFixed(1)},${y(value).toFixed(1)}`;

      const drawn = [];
      for (let part = 0; part <= parts; part += 1) {
        const value = (highest * part) / parts;
        if (definition.whole && value % 1) continue;
        const at = Math.round(y(value)) + 0.5;
        drawn.push(svg('line', { class: part ? 'grid' : 'axis', x1: left, x2: width - right, y1: at, y2: at }));
        drawn.push(svg('text', { class: 'y', x: left - 6, y: at + 3.5, 'text-anchor': 'end' }, definition.say(value).replace(/\.0+(?!\d)/, '')));
      }
      const every = tick * 1000;
      for (let t = Math.ceil(begin / every) * every; t <= end; t += every) {
        const at = Math.round(x(t)) + 0.5;
        if (at < left + 14 || at > width - right - 14) continue;
        drawn.push(svg('line', { class: 'grid', x1: at, x2: at, y1: top, y2: height - bottom }));
        drawn.push(svg('text', { class: 'x', x: at, y: height - 5, 'text-anchor': 'middle' }, clock(t)));
      }
      series.forEach((one, number) => {
        const filled = definition.stacked || one.area;
        for (const piece of pieces(lines[number], step * 2500)) {
          const along = piece.map((point) => xy(point, point.top));
          if (filled && piece.some((point) => point.value)) {
            const back = piece.slice().reverse().map((point) => xy(point, point.under));
            drawn.push(svg('path', { class: `fill ${one.style}`, d: `M${along.join('L')}L${back.join('L')}Z` }));
          }
        }
        // A stack has no edge where it has nothing: it would lie on the one below.
        const edge = definition.stacked
          ? lines[number].map((point) => (point.value ? point : { t: point.t, top: null })) : lines[number];
        for (const piece of pieces(edge, step * 2500)) {
          const along = piece.map((point) => xy(point, point.top));
          const path = along.length > 1 ? `M${along.join('L')}` : `M${along[0]}h0.1`;
          drawn.push(svg('path', { class: `stroke ${one.style}`, d: path }));
        }
      });
      if (limited) {
        const at = y(limit.value);
        drawn.push(svg('line', { class: 'limit', x1: left, x2: width - right, y1: at, y2: at }));
        drawn.push(svg('text', { class: 'x', x: width - right - 2, y: at + 12, 'text-anchor': 'end' }, limit.word));
      }
      this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
      this.svg.setAttribute('width', width);
      this.svg.setAttribute('height', height);
      this.layer.replaceChildren(...drawn);
      Object.assign(this, { series, inside, x, top, low: height - bottom });
      this.tell();
      if (this.details.open && (!this.tabled || Date.now() - this.tabled > 5000)) this.tabulate();
    }

    /** The legend with the values of the last sample, or of the one that is pointed at. */
    tell() {
      const { definition, series, inside } = this;
      const last = inside[inside.length - 1];
      let sample = last;
      if (this.at !== null && inside.length) {
        sample = inside.reduce((best, one) => (Math.abs(one.t - this.at) < Math.abs(best.t - this.at) ? one : best));
        const at = this.x(sample.t);
        for (const [name, value] of [['x1', at], ['x2', at], ['y1', this.top], ['y2', this.low]]) {
          this.cursor.setAttribute(name, value);
        }
      }
      this.cursor.setAttribute('visibility', this.at !== null && sample ? 'visible' : 'hidden');
      say(this.when, this.at !== null && sample ? clock(sample.t, true) : '');
      const value = (one, of) => {
        const found = of ? one.value(of) : null;
        return found === null ? NONE : definition.say(found);
      };
      const names = series.map((one) => one.name).join();
      if (this.names !== names) {
        this.names = names;
        this.legend.replaceChildren(...series.map((one) => html('li', {},
          svg('svg', { class: 'key', width: 14, height: 10, 'aria-hidden': 'true' },
            definition.stacked || one.area
              ? svg('rect', { class: `fill ${one.style}`, width: 14, height: 10 })
              : svg('path', { class: `stroke ${one.style}`, d: 'M0,5h14' })),
          html('span', {}, one.name), html('b', {}))));
      }
      series.forEach((one, number) => say(this.legend.children[number].lastChild, value(one, sample)));
      if (!last) {
        say(this.desc, 'There is no sample yet.');
        return;
      }
      const now = series.map((one) => `${one.name} ${value(one, last)}`).join(', ');
      const highest = (one) => inside.reduce((most, it) => Math.max(most, one.value(it) || 0), 0);
      const most = series.map((one) => `${one.name} ${definition.say(highest(one))}`).join(', ');
      say(this.desc, `The last ${RANGES[range].word}, until ${clock(last.t, true)}. Now: ${now}. Highest: ${most}.`);
    }

    point(event) {
      if (!this.inside) return;
      if (event) {
        const box = this.svg.getBoundingClientRect();
        const [first, last] = [this.inside[0], this.inside[this.inside.length - 1]];
        if (!first) return;
        const [from, to] = [this.x(first.t), this.x(last.t)];
        const share = to > from ? (event.clientX - box.left - from) / (to - from) : 1;
        this.at = first.t + Math.min(1, Math.max(0, share)) * (last.t - first.t);
      } else {
        this.at = null;
      }
      this.tell();
    }

    /** A dozen rows, the last first: means, and of latencies the highest. */
    tabulate() {
      if (!this.details.open || !this.inside) return;
      this.tabled = Date.now();
      const { definition, series, inside } = this;
      this.columns.replaceChildren(...['Until', ...series.map((one) => one.name)].map((name) =>
        html('th', { scope: 'col' }, name)));
      const each = range === 'fine' ? 25 : 20;
      const rows = [];
      for (let to = inside.length; to > 0; to -= each) {
        const group = inside.slice(Math.max(0, to - each), to);
        rows.push(html('tr', {}, html('th', { scope: 'row' }, clock(group[group.length - 1].t, true)),
          ...series.map((one) => {
            const values = group.map(one.value).filter((value) => value !== null);
            if (!values.length) return html('td', {}, NONE);
            const value = definition.id === 'latency' ? Math.max(...values) : sum(values) / values.length;
            return html('td', {}, definition.say(value));
          })));
      }
      this.table.replaceChildren(...rows);
    }
  }

  const charts = CHARTS.map((definition) => new Chart(definition));
  let due = false;
  function draw() {
    if (due || document.hidden) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      charts.forEach((chart) => chart.draw());
    });
  }

  // ---- Tables

  const filled = {};
  /** Fills a body anew if what it shows has changed. A row is a list of texts, or of [text, class]. */
  function fill(id, rows, none) {
    const body = $(id);
    const key = JSON.stringify(rows);
    if (!body || filled[id] === key) return;
    filled[id] = key;
    const width = body.parentNode.querySelectorAll('thead th').length;
    const whole = (text) => html('tr', {}, html('td', { colspan: width }, text));
    const made = rows.map((row) => {
      if (row.subject) {
        return html('tr', { class: 'subject' }, html('th', { scope: 'rowgroup', colspan: width }, row.subject));
      }
      if (row.whole) return whole(row.whole);
      return html('tr', {}, ...row.map((cell, at) => {
        const [text, style, small] = Array.isArray(cell) ? cell : [cell];
        return html(at ? 'td' : 'th', { scope: at ? null : 'row', class: style || null }, text,
          small === undefined ? null : html('small', {}, ` ${small}`));
      }));
    });
    body.replaceChildren(...(made.length ? made : [whole(none)]));
  }

  function figure(it) {
    if (it.unit === 'bytes') return bytes(Math.max(0, it.value));
    if (/expiry|not_after|expires/.test(it.name) && it.value > 1e9) {
      const days = (it.value - Date.now() / 1000) / 86400;
      const date = new Date(it.value * 1000).toISOString().slice(0, 10);
      return days < 0 ? `${date}, expired` : `${date}, in ${days < 10 ? days.toFixed(1) : grouped(days)} days`;
    }
    if (it.unit === 'seconds') return `${it.value.toFixed(3)}${NB}s`;
    return Number.isInteger(it.value) && it.value >= 0 ? grouped(it.value) : it.value.toFixed(2);
  }

  function tables() {
    const upstreams = state.upstreams.map((it) => [it.label,
      it.healthy === null ? ['several'] : it.healthy ? ['healthy', 'ok'] : ['unhealthy', 'bad'],
      ...[it.active, it.idle, it.attempts, it.failures, it.retries, it.ejections].map(grouped)]);
    const more = state.upstream_count - state.upstreams.length;
    if (more > 0) upstreams.push({ whole: `and ${more} more` });
    fill('upstreams', upstreams, 'None is configured.');
    fill('checks', state.checks.map((it) => [it.name, [it.word, it.class],
      it.took === null ? NONE : grouped(it.took) + NB + 'ms', it.error]), 'None is configured.');
    fill('refusals', state.refusals.map(([reason, status, count]) => [reason, status, grouped(count)]),
      'Nothing has been refused.');
    const others = [];
    let subject = '';
    for (const it of state.figures) {
      if (it.subject !== subject) others.push({ subject: it.subject });
      subject = it.subject;
      const wrong = /_failures_total$|_errors_total$|_dropped_total$/.test(it.name) && it.value > 0;
      others.push([[it.name, '', it.labels], [figure(it), wrong ? 'warn' : ''], it.help]);
    }
    fill('others', others, 'There is none.');
  }

  // ---- What is said in words

  function now(sample) {
    say($('phase'), state.phase);
    $('phase').className = `state ${state.class}`;
    if (document.title !== `Nessen: ${state.phase}`) document.title = `Nessen: ${state.phase}`;
    say($('uptime'), span(state.uptime));
    if (Number(document.body.dataset.settings) !== state.settings) {
      $('reloaded').hidden = false;
    }
    if (!sample) return;
    say($('rate'), decimal(sum(sample.r) / sample.s));
    say($('rate-more'), `${grouped(state.requests)} in all`);
    const [samples, p50, p95, p99] = state.latency;
    say($('latency'), samples ? latency(p99) : NONE);
    say($('latency-more'), samples ? `p50${NB}${latency(p50)}, p95${NB}${latency(p95)}` : 'no request in the last minute');
    say($('active'), grouped(sample.a));
    const [silent, one, two_] = sample.c;
    say($('connections'), grouped(sum(sample.c)));
    say($('connections-more'), `${one}${NB}HTTP/1.1, ${two_}${NB}HTTP/2, ${silent}${NB}silent`);
    say($('refused'), decimal(sum(Object.values(sample.x)) / sample.s));
    say($('refused-more'), `${grouped(sum(state.refusals.map((it) => it[2])))} in all`);
    say($('memory'), bytes(sample.m));
    say($('resident'), bytes(sample.rss));
    say($('cpu'), percent((sample.cpu / sample.s) * 100));
  }

  function took(news) {
    state = news;
    const last = coarse[coarse.length - 1];
    if (news.coarse && (!last || news.coarse.t > last.t)) {
      coarse.push(news.coarse);
      if (coarse.length > 240) coarse.shift();
    }
  }

  // ---- Evidence: what strangers sent, as text

  const kept = document.body.dataset.evidence === 'true';
  let list = null;
  let asked = 0;
  const cut = (text) => (text.length > 160 ? `${text.slice(0, 160)}\u2026` : text);
  const moment = (text) => (text || '').slice(0, 19).replace('T', ' ');
  const word = (value) => (value === null || value === undefined ? '' : String(value));
  const dialog = html('dialog', { 'aria-labelledby': 'dialog-title' });
  if (kept) {
    document.body.append(dialog);
    const head = $('evidence').closest('table').querySelector('thead tr');
    head.append(html('th', { scope: 'col' }, html('span', { class: 'unseen' }, 'Details')));
    const purge = html('button', { type: 'button', id: 'purge' }, 'Take all out\u2026');
    purge.addEventListener('click', () => sure());
    $('evidence').closest('.scroll').after(html('p', { class: 'under' },
      html('span', { id: 'evidence-more' }), ' ', purge));
  }

  async function read(path, options) {
    const answer = await fetch(path, { headers: { 'x-requested-with': 'status page' }, ...options });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.detail || answer.statusText);
    return body;
  }

  async function evidence(atOnce) {
    if (!kept || document.hidden || (!atOnce && Date.now() - asked < 4500)) return;
    asked = Date.now();
    try {
      list = await read('/evidence?limit=50');
    } catch (error) {
      say($('evidence-more'), `The list cannot be read: ${error.message}.`);
      return;
    }
    const dropped = list.dropped ? `, ${grouped(list.dropped)} dropped` : '';
    say($('evidence-more'), `${list.enabled ? '' : 'Switched off after too many faults. '}${grouped(list.count)} kept of at most `
      + `${grouped(list.max_count)}, ${bytes(list.bytes)} of ${bytes(list.max_bytes)}, ${grouped(list.evicted)} evicted${dropped}.`);
    $('purge').hidden = !list.count;
    const key = JSON.stringify(list.entries);
    if (filled.evidence === key) return;
    filled.evidence = key;
    const body = $('evidence');
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    const rows = list.entries.map((it) => {
      const look = html('button', { type: 'button', 'data-id': it.id,
        'aria-label': `Details of ${it.reason} from ${it.client}` }, 'Look');
      look.addEventListener('click', () => details(it.id));
      return html('tr', {}, html('th', { scope: 'row' }, moment(it.last_seen)),
        html('td', { class: it.severity === 'high' ? 'bad' : null }, it.reason),
        ...[it.client, grouped(it.count), word(it.status), cut(`${word(it.method)} ${word(it.target)}`)].map((text) =>
          html('td', {}, text)), html('td', {}, look));
    });
    body.replaceChildren(...(rows.length ? rows : [html('tr', {}, html('td', { colspan: 7 }, 'Nothing has been kept.'))]));
    for (const button of body.querySelectorAll('button')) {
      if (button.dataset.id === focused) button.focus();
    }
  }

  function ask(title, contents, buttons) {
    const close = html('button', { type: 'button' }, 'Close');
    close.addEventListener('click', () => dialog.close());
    dialog.replaceChildren(html('h2', { id: 'dialog-title' }, title), ...contents,
      html('p', { class: 'buttons' }, ...buttons, close));
    dialog.showModal();
    close.focus();
  }

  async function remove(path) {
    try {
      await read(path, { method: 'DELETE' });
      dialog.close();
    } catch (error) {
      ask('It is still there', [html('p', {}, error.message)], []);
    }
    evidence(true);
  }

  function taker(text, path) {
    const button = html('button', { type: 'button', class: 'bad' }, text);
    button.addEventListener('click', () => remove(path));
    return button;
  }

  function sure() {
    ask('Take all out?', [html('p', {}, `${grouped(list.count)} entries are removed from memory, and do not come back.`)],
      [taker('Take all out', '/evidence')]);
  }

  async function details(id) {
    let it;
    try {
      it = await read(`/evidence/${encodeURIComponent(id)}`);
    } catch (error) {
      ask('It cannot be shown', [html('p', {}, error.message)], []);
      return;
    }
    const rows = [['Client', it.client], ['Seen', `${grouped(it.count)} times, ${moment(it.first_seen)} to ${moment(it.last_seen)} UTC`],
      ['Severity', it.severity], ['Why', it.detail], ['Limit', it.limit], ['Status', it.status], ['Protocol', it.protocol],
      ['Target', it.target], ['Route', it.route], ['Request id', it.request_id], ['Looks like', it.head && it.head.looks_like],
      ['Head', it.head && `${grouped(it.head.length)} bytes, SHA-256 ${word(it.head.sha256)}`],
      ['Body', it.body && it.body.length && `${grouped(it.body.length)} bytes, SHA-256 ${word(it.body.sha256)}`]]
      .filter((row) => word(row[1]) !== '');
    const contents = [html('dl', {}, ...rows.flatMap(([name, value]) => [html('dt', {}, name), html('dd', {}, word(value))]))];
    const raw = [...((it.head && it.head.lines) || []), ...(it.body && it.body.text ? ['', it.body.text] : [])];
    if (raw.length) contents.push(html('pre', { tabindex: '0', 'aria-label': 'What was sent' }, raw.join('\n')));
    ask(it.reason, contents, [taker('Take this out', `/evidence/${encodeURIComponent(id)}`)]);
  }

  // ---- The stream

  let source = null;
  let ended = false;
  let heard = 0;
  let again = null;
  const live = $('live');
  live.hidden = false;
  function told(word, style) {
    say(live, word);
    live.className = `live ${style}`;
  }

  function listen() {
    clearTimeout(again);
    if (source) source.close();
    ended = false;
    source = new EventSource('/events');
    source.addEventListener('history', (event) => {
      const news = JSON.parse(event.data);
      fine = news.fine;
      coarse = news.coarse;
      keep = news.keep;
      took(news.state);
      heard = Date.now();
      told('Live', 'ok');
      now(fine[fine.length - 1]);
      tables();
      evidence(true);
      $('charts').hidden = false;
      $('past').hidden = true;
      draw();
    });
    source.addEventListener('sample', (event) => {
      const news = JSON.parse(event.data);
      fine.push(news.sample);
      while (fine.length > keep) fine.shift();
      took(news.state);
      heard = Date.now();
      told('Live', 'ok');
      now(news.sample);
      tables();
      evidence();
      draw();
    });
    source.addEventListener('end', () => {
      ended = true;
      say($('phase'), 'Stopping');
      $('phase').className = 'state bad';
    });
    source.addEventListener('error', () => {
      told(ended ? 'Stopped; waiting for the next start' : 'Connection lost; trying again', 'bad');
      // Refused, as where too many pages are open: the browser gives up by itself then.
      if (source.readyState === EventSource.CLOSED) again = setTimeout(listen, 5000);
    });
  }
  setInterval(() => {
    if (source && source.readyState === EventSource.OPEN && Date.now() - heard > 10000) {
      told('Nothing heard for ' + span((Date.now() - heard) / 1000), 'warn');
    }
  }, 1000);

  // A page that nobody sees for a while leaves its stream to others.
  let asleep = null;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(asleep);
    if (document.hidden) {
      asleep = setTimeout(() => {
        clearTimeout(again);
        if (source) source.close();
        source = null;
      }, 60000);
    } else if (source) {
      draw();
    } else {
      listen();
    }
  });

  // ---- What only a script can do

  for (const [name, { word }] of Object.entries(RANGES)) {
    const button = html('button', { type: 'button', 'aria-pressed': String(name === range) }, word);
    button.addEventListener('click', () => {
      range = name;
      for (const other of $('range').children) other.setAttribute('aria-pressed', String(other === button));
      draw();
    });
    $('range').append(button);
  }
  $('plots').append(...charts.map((chart) => chart.figure));
  new ResizeObserver(draw).observe($('plots'));

  const settings = $('settings');
  const filter = html('input', { type: 'search', id: 'filter', autocomplete: 'off', spellcheck: 'false' });
  const only = html('input', { type: 'checkbox', id: 'only' });
  function sift() {
    const wanted = filter.value.trim().toLowerCase();
    for (const row of settings.rows) {
      row.hidden = (only.checked && row.className === 'default')
        || (wanted !== '' && !row.textContent.toLowerCase().includes(wanted));
    }
  }
  filter.addEventListener('input', sift);
  only.addEventListener('change', sift);
  settings.closest('section').querySelector('h2').after(html('div', { class: 'sift' },
    html('label', { for: 'filter' }, 'Find ', filter),
    html('label', { for: 'only' }, only, ' Only what was set')));

  listen();
})();
