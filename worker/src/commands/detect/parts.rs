//! The parts of the input: what paths name is one, and so is each chart and overlay, whose objects are neighbours of each other
//! alone.

use cli_support::output;
use corpus::{CorpusError, Inputs, Positions, Scan};
use domain::config::{Context, RunConfig, ScannersConfig};
use domain::policy::PolicyId;
use scanners::RendererKind;

use crate::commands::builds::{BuildArgs, without_places};
use crate::commands::files::exclude::ExcludeArg;
use crate::commands::repository::Repository;
use crate::findings::Located;

/// A part of the input.
pub(super) struct Part {
    inputs: Inputs,
    context: Context,
    /// The program that rendered it.
    rendered_by: Option<RendererKind>,
}

/// What the arguments name.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) paths: &'a [String],
    pub(super) builds: &'a BuildArgs,
    pub(super) exclude: &'a ExcludeArg,
}

/// The parts of what the arguments name; renders them.
pub(super) fn parts(
    args: Named<'_>,
    repository: &Repository,
    (config, scanners): (&RunConfig, &ScannersConfig),
    context: Context,
) -> anyhow::Result<Vec<Part>> {
    let limits = &config.limits;
    let without = |inputs: Inputs| repository.excluding(inputs.excluding(&args.exclude.exclude));
    if args.builds.is_empty() {
        let inputs = without(Inputs::open(args.paths, limits)?);
        return Ok(vec![Part { inputs, context, rendered_by: None }]);
    }
    let mut all = Vec::new();
    for buildable in args.builds.open(scanners)? {
        let build = buildable.build(limits)?;
        build.unsure(buildable.name()).iter().for_each(|line| output::say(line));
        let inputs = without(build.inputs());
        all.push(Part { inputs, context: Context::Input, rendered_by: Some(buildable.kind()) });
    }
    Ok(all)
}

impl Part {
    pub(super) fn survey<'a>(
        &'a self,
        config: &'a RunConfig,
        wanted: &[PolicyId],
        positions: Positions,
    ) -> Result<Scan<'a>, CorpusError> {
        Scan::survey(&self.inputs, config, wanted.to_vec(), self.context, positions)
    }

    /// Whether a program rendered it.
    pub(super) const fn is_rendered(&self) -> bool {
        self.rendered_by.is_some()
    }

    /// Findings with the places that are known.
    pub(super) fn placed(&self, found: Vec<Located>) -> Vec<Located> {
        match self.rendered_by {
            Some(kind) => without_places(found, kind),
            None => found,
        }
    }
}
