//! Reads jute, ZooKeeper's serialisation, off a file or the wire; written apart from the client's own
//! reading, so that one does not repeat the other's mistakes.

use anyhow::{Context, Result, ensure};

/// Bytes yet to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jute<'a>(pub(crate) &'a [u8]);

impl<'a> Jute<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("the bytes end early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    pub(crate) fn int(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn long(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn truth(&mut self) -> Result<bool> {
        self.array().map(|[byte]| byte != 0)
    }

    /// A buffer; one that is absent (length -1) is empty.
    pub(crate) fn buffer(&mut self) -> Result<&'a [u8]> {
        match self.int()? {
            -1 => Ok(&[]),
            length => self.take(usize::try_from(length).context("a negative length")?),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        Ok(std::str::from_utf8(self.buffer()?)?.to_owned())
    }

    /// A list of permissions, of no interest here.
    pub(crate) fn skip_acl(&mut self) -> Result<()> {
        let count = self.int()?;
        ensure!(count <= 1_000, "a list of {count} permissions");
        for _ in 0..count {
            self.int()?;
            self.buffer()?;
            self.buffer()?;
        }
        Ok(())
    }
}
