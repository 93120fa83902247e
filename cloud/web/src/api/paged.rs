//! Pages of lists: one item more than the page has is read, which shows whether another page follows.

use super::query::Params;
use crate::error::ApiError;

/// Number of items on a page, at least 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageSize(usize);

impl PageSize {
    /// Reads the size from the parameter `name`; a larger one than `max` is `max`.
    pub(super) fn read(params: &Params, name: &str, default: usize, max: usize) -> Result<Self, ApiError> {
        params.count(name, default, max).map(Self)
    }

    /// Returns the number of items to read for a page.
    pub(super) const fn to_read(self) -> usize {
        self.0 + 1
    }

    /// Returns the page's items as the API shows them, and the cursor of the last one if another page
    /// follows.
    pub(super) fn cut<T, D: From<T>, C>(
        self,
        mut items: Vec<T>,
        cursor: impl FnOnce(&T) -> C,
    ) -> (Vec<D>, Option<C>) {
        let is_last = items.len() <= self.0;
        items.truncate(self.0);
        let next = items.last().filter(|_| !is_last).map(cursor);
        (items.into_iter().map(D::from).collect(), next)
    }
}

/// Reads the cursor of a page from the parameter `before`; `what` names the entries of the list.
pub(super) fn before<C>(
    params: &Params,
    what: &str,
    read: impl FnOnce(&str) -> Option<C>,
) -> Result<Option<C>, ApiError> {
    let invalid = || ApiError::invalid("invalid_query", format!("before is not a cursor of {what}"));
    let cursor = params.get("before").map(|text| read(text).ok_or_else(invalid));
    cursor.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_given_if_more_was_read_than_the_page_has() {
        let cut = |items: Vec<u8>| PageSize(2).cut::<u8, u64, u8>(items, |item| *item);
        assert_eq!(cut(vec![]), (vec![], None));
        assert_eq!(cut(vec![9, 8]), (vec![9, 8], None));
        assert_eq!(cut(vec![9, 8, 7]), (vec![9, 8], Some(8)));
        assert_eq!(PageSize(2).to_read(), 3);
    }
}
