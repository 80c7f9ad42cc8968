//! Which targets are taken.

use super::super::planner::PlanError;
use super::super::{Endpoint, MAX_ENDPOINTS, MAX_UNITS, TargetError, plan_fleet};
use super::profile::{device, gate, source, target};

#[test]
fn an_endpoint_is_a_host_and_a_port() {
    for good in ["10.0.0.7:502", "PLC-3.town.example:1502", "[fd00::7]:502", "localhost:1"] {
        assert_eq!(good.parse::<Endpoint>().unwrap().as_str(), good.to_lowercase());
    }
    for bad in ["", "plc", "plc:", "plc:0", "plc:65536", ":502", "fd00::7:502", "[x]:502", "a b:1"]
    {
        assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
    }
}

#[test]
fn what_cannot_be_polled_is_named_and_the_rest_is_polled() {
    let gate = gate(source(60, 8));
    let wide = super::profile::gate(source(1, 8));
    let targets = vec![
        target("a:502", 1, &gate),
        target("a", 2, &gate),
        target("a:502", 3, &wide),
        target("b:502", 1, &gate),
        target("A:502", 4, &gate),
    ];
    let (fleet, refusals) = plan_fleet(targets);
    let sizes: Vec<_> = fleet.iter().map(|(name, units)| (name.as_str(), units.len())).collect();
    assert_eq!(sizes, [("a:502", 2)], "letters' case does not make another endpoint");
    assert_eq!(refusals.len(), 3);
    assert!(matches!(refusals[0].error, TargetError::Endpoint(_)));
    assert!(matches!(refusals[1].error, TargetError::Plan(PlanError::TooWide { .. })));
    assert_eq!((&refusals[2].device, &refusals[2].error), (&device(1), &TargetError::Duplicate));
}

#[test]
fn buses_and_units_are_bounded() {
    let gate = gate(source(60, 8));
    let named = |endpoint: String, i: usize| {
        let mut target = target(&endpoint, 1, &gate);
        target.device = format!("d-{i}").parse().unwrap();
        target
    };
    let one_bus = (0..=MAX_UNITS).map(|i| named("a:502".to_owned(), i)).collect();
    let (_, refusals) = plan_fleet(one_bus);
    assert_eq!(refusals.len(), 1);
    assert!(matches!(refusals[0].error, TargetError::TooManyUnits { .. }));

    let many_buses = (0..=MAX_ENDPOINTS).map(|i| named(format!("h-{i}:502"), i)).collect();
    let (fleet, refusals) = plan_fleet(many_buses);
    assert_eq!((fleet.len(), refusals.len()), (MAX_ENDPOINTS, 1));
    assert_eq!(refusals[0].error, TargetError::TooManyEndpoints);
}

#[test]
fn devices_of_one_profile_share_one_plan() {
    let gate = gate(source(60, 8));
    let (fleet, _) = plan_fleet(vec![target("a:1", 1, &gate), target("a:1", 2, &gate)]);
    let units = &fleet[&"a:1".parse().unwrap()];
    assert!(std::sync::Arc::ptr_eq(&units[0].plan, &units[1].plan));
}
