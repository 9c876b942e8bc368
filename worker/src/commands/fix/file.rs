//! Repairs the objects of one file, one after the other.

use super::object::ObjectRepair;
use super::repaired::{Manner, Repaired};
use super::tracking::Tracking;
use crate::repair::missing_break;
use corpus::FileScan;

/// Repairs the documents of a file, one after the other.
pub(in crate::commands) fn repair_file(file: &FileScan, manner: Manner<'_>) -> anyhow::Result<Repaired> {
    let mut repaired = Repaired::default();
    if let Some(asker) = manner.asker {
        asker.begin_file();
    }
    let mut text = String::new();
    let mut copied = 0;
    let mut numbers = 0..;
    for objects in file.objects.chunk_by(|one, other| one.place.piece == other.place.piece) {
        let numbered: Vec<_> = numbers.by_ref().zip(objects).collect();
        let Some(place) = objects.first().map(|object| &object.place) else { continue };
        if objects.iter().all(|object| object.findings.is_empty()) {
            continue;
        }
        let old = place.text(&file.text);
        let mut piece = old.to_owned();
        let mut tracking = manner.tracked.then(|| Tracking::new(old));
        for (number, object) in numbered.into_iter().filter(|(_, object)| !object.findings.is_empty()) {
            let neighbours = object.neighbours.clone();
            let mut repair = ObjectRepair { file, place: &object.place, number, neighbours, manner };
            repair.run(&mut piece, object.document.clone(), &mut tracking, &mut repaired)?;
        }
        text.push_str(&file.text[copied..place.offset]);
        text.push_str(&piece);
        copied = place.offset + place.length;
        let missing = missing_break(old, &piece, &file.text[copied..]);
        text.push_str(missing);
        if let Some(tracking) = tracking {
            repaired.changes.extend(tracking.changes(old, place.offset, missing));
        }
    }
    text.push_str(&file.text[copied..]);
    if text != file.text {
        repaired.text = Some(text);
    }
    Ok(repaired)
}
