//! The picture of a run: tests/bench/country.svg.

use std::ops::Range;

use super::Record;

/// Draws two views of one curve: the first twelve minutes on a logarithmic axis, the twelve hours on a linear
/// one. The colours are readable on white and on black.
pub fn draw(record: &Record) -> String {
    const TOP: f64 = 56.0;
    const BOTTOM: f64 = 316.0;
    const LEFT: Range<f64> = 62.0..372.0;
    const RIGHT: Range<f64> = 450.0..870.0;
    const REQUESTS: &str = "#3b82f6";
    const TOKENS: &str = "#10a37f";
    const CAPACITY: &str = "#e0662f";
    const LINEAR_TOP: f64 = 1000.0;

    let logarithmic = |value: f64| {
        let part = (value.max(10.0).log10() - 1.0) / 4.0;
        BOTTOM - part.clamp(0.0, 1.0) * (BOTTOM - TOP)
    };
    let linear = |value: f64| BOTTOM - (value / LINEAR_TOP).clamp(0.0, 1.0) * (BOTTOM - TOP);
    let minute_x = |minute: f64| LEFT.start + minute / 12.0 * (LEFT.end - LEFT.start);
    let hour_x = |hour: f64| RIGHT.start + hour / 12.0 * (RIGHT.end - RIGHT.start);
    let mean = |requests: &[u32]| requests.iter().sum::<u32>() as f64 / requests.len() as f64;
    let line = |points: &[(f64, f64)], style: &str| {
        let points: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        format!("<polyline points=\"{}\" {style}/>\n", points.join(" "))
    };
    let text = |x: f64, y: f64, style: &str, text: &str| {
        format!("<text x=\"{x:.0}\" y=\"{y:.0}\" {style}>{text}</text>\n")
    };

    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 372\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#808890\">\n\
         <title>Requests a second at the service after a power cut: 2 million tills</title>\n",
    );
    // Axes.
    for (value, label) in [
        (10.0, "10"),
        (100.0, "100"),
        (1e3, "1 000"),
        (1e4, "10 000"),
        (1e5, "100 000"),
    ] {
        let y = logarithmic(value);
        svg += &line(
            &[(LEFT.start, y), (LEFT.end, y)],
            "stroke=\"#808890\" stroke-opacity=\".3\"",
        );
        svg += &text(LEFT.start - 6.0, y + 4.0, "text-anchor=\"end\"", label);
    }
    for value in [0, 250, 500, 750, 1000] {
        let y = linear(value.into());
        svg += &line(
            &[(RIGHT.start, y), (RIGHT.end, y)],
            "stroke=\"#808890\" stroke-opacity=\".3\"",
        );
        svg += &text(
            RIGHT.start - 6.0,
            y + 4.0,
            "text-anchor=\"end\"",
            &value.to_string(),
        );
    }
    for step in (0..=12).step_by(2) {
        let label = step.to_string();
        let middle = "text-anchor=\"middle\"";
        svg += &text(minute_x(step.into()), BOTTOM + 18.0, middle, &label);
        svg += &text(hour_x(step.into()), BOTTOM + 18.0, middle, &label);
    }
    let middle = "text-anchor=\"middle\"";
    svg += &text(
        minute_x(6.0),
        BOTTOM + 40.0,
        middle,
        "minutes since the power came back",
    );
    svg += &text(
        hour_x(6.0),
        BOTTOM + 40.0,
        middle,
        "hours since the power came back",
    );
    svg += &text(
        LEFT.start,
        20.0,
        "font-weight=\"bold\"",
        "The first minutes: requests a second (log)",
    );
    svg += &text(
        RIGHT.start,
        20.0,
        "font-weight=\"bold\"",
        "Twelve hours: requests a second",
    );

    // The first minutes.
    let curve = |counts: &[u32]| -> Vec<(f64, f64)> {
        let points = counts[..720].chunks(5).enumerate();
        points
            .map(|(i, chunk)| (minute_x((i as f64 + 0.5) / 12.0), logarithmic(mean(chunk))))
            .collect()
    };
    let thick = |colour: &str| format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"");
    svg += &line(&curve(&record.requests), &thick(REQUESTS));
    svg += &line(&curve(&record.tokens), &thick(TOKENS));
    let capacity = logarithmic(5000.0);
    svg += &line(
        &[(LEFT.start, capacity), (LEFT.end, capacity)],
        &format!("stroke=\"{CAPACITY}\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\""),
    );
    let legend = [
        (REQUESTS, "requests"),
        (TOKENS, "tokens"),
        (CAPACITY, "capacity, 5 000"),
    ];
    for (place, (colour, label)) in legend.into_iter().enumerate() {
        let x = LEFT.start + 85.0 * place as f64;
        svg += &text(x, 42.0, &format!("fill=\"{colour}\""), label);
    }

    // The twelve hours, two minutes a point.
    let points = |value: &dyn Fn(&[u32]) -> f64| -> Vec<(f64, f64)> {
        let chunks = record.requests.chunks(120).enumerate();
        chunks
            .map(|(i, chunk)| (hour_x((i as f64 + 0.5) / 30.0), linear(value(chunk))))
            .collect()
    };
    let busiest = |chunk: &[u32]| chunk.iter().max().map_or(0.0, |&max| max.into());
    svg += &line(
        &points(&busiest),
        &format!("fill=\"none\" stroke=\"{REQUESTS}\" stroke-opacity=\".45\""),
    );
    svg += &line(&points(&mean), &thick(REQUESTS));
    svg += &text(
        RIGHT.start,
        42.0,
        &format!("fill=\"{REQUESTS}\""),
        "mean of two minutes",
    );
    svg += &text(
        RIGHT.start + 135.0,
        42.0,
        &format!("fill=\"{REQUESTS}\" fill-opacity=\".6\""),
        "their busiest second",
    );
    svg + "</svg>\n"
}
