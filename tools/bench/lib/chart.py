"""Line charts as SVG: panels side by side, each with points that a line joins. Nothing but text is written."""

from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 270, 58, 14, 46, 46
COLOURS = ("#1f6fb4", "#c8501e", "#2b8a3e", "#7a4fbf")
STYLE = ("text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:13px}"
         ".grid{stroke:#e3e3e3}.axis{stroke:#888}")


def steps(top):
    """Round numbers from 0 to just above `top`."""
    raw = top / 4
    magnitude = 1.0
    while magnitude > raw:
        magnitude /= 10
    while magnitude * 10 <= raw:
        magnitude *= 10
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= raw)
    count = int(top / step) + (0 if abs(top / step - round(top / step)) < 1e-9 else 1)
    return [step * i for i in range(count + 1)]


def number(value):
    return f"{value:.4g}"


def panel(title, x_name, y_name, series):
    """series: name -> [(x, y)]. x is drawn at equal distances, in the order of the first series; y from 0."""
    xs = [x for x, _ in next(iter(series.values()))]
    levels = steps(max(y for points in series.values() for _, y in points))
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x, y):
        across = xs.index(x) / max(1, len(xs) - 1)
        return LEFT + 14 + across * (inner_width - 28), TOP + inner_height * (1 - y / levels[-1])

    parts = [f'<text class="title" x="{LEFT}" y="18">{escape(title)}</text>']
    for level in levels:
        y = place(xs[0], level)[1]
        parts += [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
                  f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(level)}</text>']
    bottom = TOP + inner_height
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    for x in xs:
        parts.append(f'<text x="{place(x, 0)[0]:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(str(x))}</text>')
    parts.append(f'<text x="{LEFT + inner_width / 2}" y="{bottom + 34}" text-anchor="middle">{escape(x_name)}</text>')
    parts.append(f'<text transform="translate(12 {TOP + inner_height / 2}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>')
    legend = LEFT
    for (name, points), colour in zip(series.items(), COLOURS):
        places = [place(x, y) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        if len(series) > 1:
            parts += [f'<rect x="{legend}" y="26" width="10" height="10" fill="{colour}"/>',
                      f'<text x="{legend + 14}" y="35">{escape(name)}</text>']
            legend += 26 + 7 * len(name)
    return "\n".join(parts)


def page(rows):
    """rows: lists of panels."""
    width, height = WIDTH * max(len(row) for row in rows), HEIGHT * len(rows)
    body = "\n".join(
        f'<g transform="translate({WIDTH * column} {HEIGHT * line})">\n{drawn}\n</g>'
        for line, row in enumerate(rows) for column, drawn in enumerate(row)
    )
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
            f"<style>{STYLE}</style>\n"
            f'<rect width="{width}" height="{height}" fill="#fff"/>\n{body}\n</svg>\n')
