//! How errors are told in the log.

/// An error with its sources, as one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut error = Some(self.0);
        let mut first = true;
        while let Some(current) = error {
            if !first {
                out.write_str(": ")?;
            }
            write!(out, "{current}")?;
            first = false;
            error = current.source();
        }
        Ok(())
    }
}
