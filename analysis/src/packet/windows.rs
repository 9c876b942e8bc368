//! Change windows: documents of one blast radius, in the order of their scores, as many as the window has time for.

use super::radius::Radius;
use super::{Unit, Window};

/// Distributes documents, which are in the order of the rollout. What reaches the whole cluster is alone in its window; so is
/// what takes longer than a window.
pub(super) fn windows(units: &[Unit], minutes: f64) -> Vec<Window> {
    let mut windows: Vec<Window> = vec![];
    for unit in units {
        let has_room = |window: &&mut Window| {
            window.radius == unit.radius
                && unit.radius != Radius::Cluster
                && window.minutes + unit.minutes <= minutes
        };
        match windows.last_mut().filter(has_room) {
            Some(window) => {
                window.units.push(unit.number);
                window.minutes += unit.minutes;
                window.risk += unit.risk;
            }
            None => windows.push(Window {
                number: windows.len() + 1,
                radius: unit.radius,
                minutes: unit.minutes,
                units: vec![unit.number],
                risk: unit.risk,
            }),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(number: usize, radius: Radius, minutes: f64) -> Unit {
        Unit {
            number,
            document: None,
            manifest: String::new(),
            kind: String::new(),
            namespace: String::new(),
            name: String::new(),
            radius,
            replicas: 1,
            replaces_pods: false,
            risk: 1.0,
            score: 1.0,
            minutes,
            repairs: vec![],
            repairs_left_out: 0,
        }
    }

    #[test]
    fn a_window_has_one_radius_and_ends_with_its_time() {
        let units = [
            unit(1, Radius::Job, 10.0),
            unit(2, Radius::Workload, 10.0),
            unit(3, Radius::Workload, 10.0),
            unit(4, Radius::Workload, 10.0),
            unit(5, Radius::Workload, 90.0),
            unit(6, Radius::Cluster, 1.0),
            unit(7, Radius::Cluster, 1.0),
        ];
        let of = windows(&units, 25.0);
        let numbers: Vec<&[usize]> = of.iter().map(|window| window.units.as_slice()).collect();
        assert_eq!(numbers, [&[1][..], &[2, 3], &[4], &[5], &[6], &[7]]);
        assert_eq!(of.iter().map(|window| window.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }
}
