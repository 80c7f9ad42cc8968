//! The spatial index against looking at every asset.

use geo::{Geometry, LineString, Point, Polygon};
use proptest::prelude::*;

use super::*;
use crate::model::{Bbox, Position};

fn asset(number: u32, geometry: impl Into<Geometry<f64>>) -> Asset {
    Asset {
        id: format!("a{number}").parse().unwrap(),
        number: AssetNumber(number),
        kind: AssetKind::Pipe,
        name: Label::same("x"),
        zone: None,
        parent: None,
        geometry: geometry.into(),
        properties: serde_json::Map::new(),
    }
}

fn town(geometries: Vec<Geometry<f64>>) -> Town {
    let assets = geometries.into_iter().zip(1..).map(|(geometry, number)| asset(number, geometry));
    Town::new(1, [], assets, [])
}

/// The great-circle distance in metres by the haversine formula, written out.
fn metres(a: (f64, f64), b: (f64, f64)) -> f64 {
    let [lon_1, lat_1, lon_2, lat_2] = [a.0, a.1, b.0, b.1].map(f64::to_radians);
    let h = ((lat_2 - lat_1) / 2.0).sin().powi(2)
        + lat_1.cos() * lat_2.cos() * ((lon_2 - lon_1) / 2.0).sin().powi(2);
    2.0 * 6_371_008.8 * h.sqrt().min(1.0).asin()
}

fn numbers(found: &[&Arc<Asset>]) -> Vec<u32> {
    found.iter().map(|asset| asset.number.0).collect()
}

prop_compose! {
    /// A point somewhere in the town, or now and then anywhere.
    fn place()(near in prop::bool::weighted(0.8), x in 0.0..1.0f64, y in 0.0..1.0f64) -> (f64, f64) {
        if near { (120.4 + x / 10.0, 30.7 + y / 10.0) } else { (x * 360.0 - 180.0, y * 180.0 - 90.0) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_box_finds_what_lies_in_it(
        points in prop::collection::vec(place(), 0..200),
        a in place(),
        b in place(),
    ) {
        let bbox = Bbox {
            west: a.0.min(b.0), south: a.1.min(b.1), east: a.0.max(b.0), north: a.1.max(b.1),
        };
        let expected: Vec<u32> = points.iter().zip(1u32..)
            .filter(|((x, y), _)| (bbox.west..=bbox.east).contains(x) && (bbox.south..=bbox.north).contains(y))
            .map(|(_, number)| number)
            .collect();
        let town = town(points.iter().map(|&(x, y)| Point::new(x, y).into()).collect());
        prop_assert_eq!(numbers(&town.assets_in(bbox)), expected);
    }

    #[test]
    fn the_nearest_points_are_the_nearest_everywhere_on_the_globe(
        points in prop::collection::vec(place(), 0..200),
        from in place(),
        n in 0usize..20,
    ) {
        let town = town(points.iter().map(|&(x, y)| Point::new(x, y).into()).collect());
        let mut expected: Vec<f64> = points.iter().map(|&point| metres(from, point)).collect();
        expected.sort_by(f64::total_cmp);
        expected.truncate(n);
        let found = town.nearest(Position::new(from.0, from.1).unwrap(), n);
        prop_assert_eq!(found.len(), expected.len());
        for ((asset, distance), expected) in found.iter().zip(expected) {
            prop_assert!((distance - expected).abs() < 0.001, "{} {distance} {expected}", asset.id);
        }
    }

    #[test]
    fn the_nearest_line_is_as_near_as_its_nearest_bit(
        lines in prop::collection::vec(prop::collection::vec((0.0..0.02f64, 0.0..0.02f64), 2..5), 1..30),
        from in (0.0..0.02f64, 0.0..0.02f64),
    ) {
        let at = |(x, y): (f64, f64)| (120.48 + x, 30.74 + y);
        // Every line walked in steps of a thousandth of its segments: at most 3 m apart.
        let walked = |line: &Vec<(f64, f64)>| {
            line.windows(2)
                .flat_map(|ends| (0..=1000).map(move |i| {
                    let t = f64::from(i) / 1000.0;
                    (ends[0].0 + t * (ends[1].0 - ends[0].0), ends[0].1 + t * (ends[1].1 - ends[0].1))
                }))
                .map(|point| metres(at(from), at(point)))
                .fold(f64::INFINITY, f64::min)
        };
        let mut expected: Vec<f64> = lines.iter().map(walked).collect();
        expected.sort_by(f64::total_cmp);
        let town = town(lines.iter()
            .map(|line| LineString::from(line.iter().copied().map(at).collect::<Vec<_>>()).into())
            .collect());
        let (lon, lat) = at(from);
        let found = town.nearest(Position::new(lon, lat).unwrap(), lines.len());
        prop_assert_eq!(found.len(), lines.len());
        for ((_, distance), expected) in found.iter().zip(expected) {
            prop_assert!((distance - expected).abs() < 1.6, "{distance} {expected}");
        }
    }
}

#[test]
fn distances_hold_across_the_180th_meridian_and_next_to_a_line() {
    let town = town(vec![
        Point::new(-179.999, 0.0).into(),
        Point::new(179.9, 0.0).into(),
        LineString::from(vec![(120.0, 30.0), (120.01, 30.0)]).into(),
    ]);
    let nearest = |lon, lat| {
        let (asset, distance) = town.nearest(Position::new(lon, lat).unwrap(), 1)[0];
        (asset.number.0, distance)
    };
    let (number, distance) = nearest(179.999, 0.0);
    assert_eq!(number, 1);
    assert!((distance - 222.39).abs() < 0.01, "{distance}");
    // One millionth of a degree, 11 cm, beside the line.
    let (number, distance) = nearest(120.005, 30.000_001);
    assert_eq!(number, 3);
    assert!((distance - 0.1112).abs() < 0.001, "{distance}");
    assert!(nearest(120.005, 30.0).1 < 1e-6);
}

#[test]
fn an_asset_is_found_by_its_box_and_stands_at_its_middle() {
    let line = LineString::from(vec![(120.0, 30.0), (120.02, 30.0), (120.02, 30.01)]);
    let square = Polygon::new(
        LineString::from(vec![(121.0, 30.0), (121.01, 30.0), (121.01, 30.01), (121.0, 30.01)]),
        vec![],
    );
    let town = town(vec![line.into(), square.into()]);
    let in_box = |text: &str| numbers(&town.assets_in(text.parse::<Bbox>().unwrap()));
    assert_eq!(in_box("119,29,122,31"), [1, 2]);
    assert_eq!(in_box("120.02,30.01,120.5,30.5"), [1], "the edge counts");
    assert_eq!(in_box("120.03,30,120.5,30.5"), [] as [u32; 0]);
    let position = |number| town.asset_by_number(AssetNumber(number)).unwrap().position();
    let middle = position(1);
    let ends = [(120.0, 30.0), (120.02, 30.01)];
    let along = metres(ends[0], (middle.lon(), middle.lat()));
    let rest =
        metres((middle.lon(), middle.lat()), (120.02, 30.0)) + metres((120.02, 30.0), ends[1]);
    assert!((along - rest).abs() < 0.01, "{along} {rest}");
    assert!(
        (position(2).lon() - 121.005).abs() < 1e-9 && (position(2).lat() - 30.005).abs() < 1e-6
    );
    let inside = town.nearest(Position::new(121.004, 30.002).unwrap(), 1);
    assert_eq!((inside[0].0.number.0, inside[0].1), (2, 0.0));
}
