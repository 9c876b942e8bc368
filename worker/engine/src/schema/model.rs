//! The compiled schemas: arenas addressed by index, so that validation follows no string map.

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Anything at all.
    Any,
    /// A JSON object with any content.
    Object,
    String,
    /// Base64 text.
    Bytes,
    /// RFC 3339 text.
    Time,
    /// RFC 3339 text with microseconds.
    MicroTime,
    Boolean,
    Int32,
    Int64,
    Number,
    IntOrString,
    Quantity,
    /// An object with the fields of a definition.
    Record(DefinitionId),
    /// A list of values of one type.
    List(TypeId),
    /// An object with any keys and values of one type.
    Map(TypeId),
}

/// Index into the definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DefinitionId(pub(super) u32);

/// Index into the types of list entries and map values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TypeId(pub(super) u32);

/// One field of a definition.
#[derive(Debug)]
pub(super) struct Field {
    /// [`prefix`] of the name: a search compares numbers that lie side by side, not texts that lie about.
    pub(super) prefix: u64,
    pub(super) name: Box<str>,
    pub(super) of: Type,
    /// This field's bit in [`Definition::required`], 0 if it is optional.
    pub(super) required: u64,
}

/// The first eight bytes of a name as a number that sorts as they do.
pub(super) fn prefix(name: &str) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    u64::from_be_bytes(bytes)
}

/// An object with fixed fields.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) fields: Box<[Field]>,
    /// The bits of all required fields.
    pub(super) required: u64,
}

impl Definition {
    /// The field called `name`.
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        let prefix = prefix(name);
        let first = self.fields.partition_point(|field| field.prefix < prefix);
        let mut same = self.fields.get(first..)?.iter().take_while(|field| field.prefix == prefix);
        same.find(|field| *field.name == *name)
    }

    /// The required fields that `seen` lacks.
    pub(super) fn missing(&self, seen: u64) -> impl Iterator<Item = &Field> {
        let lacking = self.required & !seen;
        let fields = if lacking == 0 { &[][..] } else { &*self.fields };
        fields.iter().filter(move |field| field.required & lacking != 0)
    }
}

#[derive(Debug)]
pub(super) struct Resource {
    pub(super) group: Box<str>,
    pub(super) version: Box<str>,
    pub(super) kind: Box<str>,
    pub(super) definition: DefinitionId,
}

/// Everything the embedded file says.
#[derive(Debug)]
pub(super) struct Model {
    /// The version it was published with.
    pub(super) version: String,
    pub(super) definitions: Vec<Definition>,
    /// What lists and maps hold.
    pub(super) inner: Vec<Type>,
    /// Sorted by group, version, kind.
    pub(super) kinds: Vec<Resource>,
}

impl Model {
    pub(super) fn definition(&self, id: DefinitionId) -> Option<&Definition> {
        self.definitions.get(id.0 as usize)
    }

    /// What a list or map holds; an index out of range holds anything (decoding refuses such a file).
    pub(super) fn inner(&self, id: TypeId) -> Type {
        self.inner.get(id.0 as usize).copied().unwrap_or(Type::Any)
    }
}
