//! A grid for maps that show more than a town: one mark per cell.

use std::collections::BTreeMap;

/// Cells per side of a map tile: about 64 pixels each.
const CELLS_PER_TILE: f64 = 4.0;

/// The things of one cell of the grid.
#[derive(Debug, PartialEq)]
pub(super) struct Cell<'a, T> {
    /// The mean longitude of its members in degrees.
    pub(super) lon: f64,
    /// The mean latitude of its members in degrees.
    pub(super) lat: f64,
    /// At least one.
    pub(super) members: Vec<&'a T>,
}

/// Puts things into the cells of the grid at `zoom`, from south-west to north-east. A thing without a place is left out.
/// Cells depend on the zoom only, not on what is in sight: clusters stand still while the map moves.
pub(super) fn grid<'a, T>(
    things: &[&'a T],
    zoom: f64,
    place: impl Fn(&T) -> Option<(f64, f64)>,
) -> Vec<Cell<'a, T>> {
    // Whole zooms only: between two of them the clusters stay as they are.
    let side = 360.0 / zoom.floor().exp2() / CELLS_PER_TILE;
    let mut cells: BTreeMap<(i64, i64), Cell<'a, T>> = BTreeMap::new();
    for &thing in things {
        let Some((lon, lat)) = place(thing) else { continue };
        let key = ((lat / side).floor() as i64, (lon / side).floor() as i64);
        let cell = cells.entry(key).or_insert(Cell { lon: 0.0, lat: 0.0, members: Vec::new() });
        cell.members.push(thing);
        let n = cell.members.len() as f64;
        cell.lon += (lon - cell.lon) / n;
        cell.lat += (lat - cell.lat) / n;
    }
    cells.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lands_in_exactly_one_cell() {
        let places: Vec<(f64, f64)> = (0..100)
            .map(|n| (120.4 + f64::from(n % 10) * 0.02, 30.7 + f64::from(n / 10) * 0.01))
            .collect();
        let things: Vec<_> = places.iter().collect();
        for zoom in [0.0, 5.0, 9.7, 11.0, 11.9] {
            let cells = grid(&things, zoom, |place| Some(*place));
            assert_eq!(cells.iter().map(|cell| cell.members.len()).sum::<usize>(), 100);
            for cell in &cells {
                let mean = cell.members.iter().map(|place| place.0).sum::<f64>()
                    / cell.members.len() as f64;
                assert!((mean - cell.lon).abs() < 1e-9);
            }
        }
        assert_eq!(grid(&things, 0.0, |place| Some(*place)).len(), 1);
        assert!(grid(&things, 11.0, |place| Some(*place)).len() > 4);
    }

    #[test]
    fn clusters_stand_still_while_the_map_moves() {
        let (a, b, c) = ((120.48, 30.74), (120.481, 30.741), (100.0, 20.0));
        let all = grid(&[&a, &b, &c], 10.0, |place| Some(*place));
        let part = grid(&[&a, &b], 10.0, |place| Some(*place));
        assert!(all.contains(&part[0]));
        assert!(grid(&[&a], 10.0, |_| None).is_empty());
    }
}
