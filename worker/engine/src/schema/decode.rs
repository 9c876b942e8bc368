//! The embedded file → [`Model`]. `scripts/schemas` writes the format and documents it.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::model::{Definition, DefinitionId, Field, Model, Resource, Type, TypeId, prefix};
use super::required;

/// The files `scripts/schemas` wrote, of each release from the oldest to the newest.
pub(super) const EMBEDDED: [&[u8]; 8] = [
    include_bytes!("../../schemas/kubernetes-1.30.json.gz"),
    include_bytes!("../../schemas/kubernetes-1.31.json.gz"),
    include_bytes!("../../schemas/kubernetes-1.32.json.gz"),
    include_bytes!("../../schemas/kubernetes-1.33.json.gz"),
    include_bytes!("../../schemas/kubernetes-1.34.json.gz"),
    include_bytes!("../../schemas/kubernetes-1.35.json.gz"),
    include_bytes!("../../schemas/kubernetes-1.36.json.gz"),
    include_bytes!("../../schemas/kubernetes-1.37.json.gz"),
];

/// The format this code reads.
const FORMAT: u32 = 1;

/// No published release comes near; a file that does is not ours.
const MAX_BYTES: u64 = 8 << 20;

/// Why a schema file is not one.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum DecodeError {
    /// Not gzip.
    #[error("cannot decompress the schemas: {0}")]
    Gzip(#[from] std::io::Error),
    /// Not the JSON of the format.
    #[error("cannot read the schemas: {0}")]
    Json(#[from] serde_json::Error),
    /// Written for another version of this code.
    #[error("the schemas have format {0}, this version reads format {FORMAT}")]
    Format(u32),
    /// A type that does not exist.
    #[error("{definition} has an unknown type {word:?}")]
    Type { definition: String, word: String },
    /// An index that points nowhere.
    #[error("{0} refers to a definition that does not exist")]
    Index(String),
    /// More required fields than a definition can have here.
    #[error("{0} has more than 64 required fields")]
    Required(String),
    /// Names that are not sorted, so that a search would miss some.
    #[error("{0} is out of order")]
    Order(String),
}

#[derive(Deserialize)]
struct File<'a> {
    format: u32,
    release: String,
    #[serde(borrow)]
    definitions: Vec<(&'a str, Vec<RawField<'a>>)>,
    #[serde(borrow)]
    kinds: Vec<(&'a str, &'a str, &'a str, u32)>,
}

type RawField<'a> = (&'a str, RawType<'a>, u8);

#[derive(Deserialize)]
#[serde(untagged)]
enum RawType<'a> {
    Record(u32),
    #[serde(borrow)]
    Word(&'a str),
    #[serde(borrow)]
    Of((&'a str, Box<RawType<'a>>)),
}

/// Decompresses a file of the format.
pub(super) fn decompress(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut text = Vec::with_capacity(bytes.len() * 8);
    GzDecoder::new(bytes).take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// Decodes a file of the format.
pub(super) fn decode(bytes: &[u8]) -> Result<Model, DecodeError> {
    let text = decompress(bytes)?;
    let file: File<'_> = serde_json::from_slice(&text)?;
    if file.format != FORMAT {
        return Err(DecodeError::Format(file.format));
    }
    let mut compiler = Compiler { count: file.definitions.len(), inner: Vec::new() };
    let definitions = file
        .definitions
        .iter()
        .map(|(name, fields)| compiler.definition(name, fields))
        .collect::<Result<_, _>>()?;
    let kinds = file.kinds.iter().map(|kind| compiler.kind(*kind)).collect::<Result<Vec<_>, _>>()?;
    if !kinds.is_sorted_by(|a, b| (&a.group, &a.version, &a.kind) < (&b.group, &b.version, &b.kind)) {
        return Err(DecodeError::Order("the table of kinds".to_owned()));
    }
    Ok(Model { version: file.release, definitions, inner: compiler.inner, kinds })
}

struct Compiler {
    count: usize,
    inner: Vec<Type>,
}

impl Compiler {
    fn definition(&mut self, name: &str, raw: &[RawField<'_>]) -> Result<Definition, DecodeError> {
        if !raw.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(DecodeError::Order(name.to_owned()));
        }
        let mut next = 1_u64;
        let mut required = 0_u64;
        let mut fields = Vec::with_capacity(raw.len());
        for (field, of, published) in raw {
            let mut bit = 0;
            if required::is_required(name, field, *published != 0) {
                if next == 0 {
                    return Err(DecodeError::Required(name.to_owned()));
                }
                bit = next;
                required |= bit;
                next <<= 1;
            }
            fields.push(Field {
                prefix: prefix(field),
                name: (*field).into(),
                of: self.of(name, of)?,
                required: bit,
            });
        }
        Ok(Definition { fields: fields.into(), required })
    }

    fn of(&mut self, definition: &str, raw: &RawType<'_>) -> Result<Type, DecodeError> {
        let unknown =
            |word: &str| DecodeError::Type { definition: definition.to_owned(), word: word.to_owned() };
        Ok(match raw {
            RawType::Record(index) => Type::Record(self.checked(*index, definition)?),
            RawType::Word(word) => scalar(word).ok_or_else(|| unknown(word))?,
            RawType::Of((word, inner)) => {
                let inner = self.of(definition, inner)?;
                let id = self.intern(inner);
                match *word {
                    "list" => Type::List(id),
                    "map" => Type::Map(id),
                    other => return Err(unknown(other)),
                }
            }
        })
    }

    fn intern(&mut self, of: Type) -> TypeId {
        let at = self.inner.iter().position(|known| *known == of).unwrap_or_else(|| {
            self.inner.push(of);
            self.inner.len() - 1
        });
        // At most one entry per field of a file below MAX_BYTES.
        TypeId(u32::try_from(at).unwrap_or(u32::MAX))
    }

    fn checked(&self, index: u32, user: &str) -> Result<DefinitionId, DecodeError> {
        if (index as usize) < self.count {
            Ok(DefinitionId(index))
        } else {
            Err(DecodeError::Index(user.to_owned()))
        }
    }

    fn kind(&self, (group, version, kind, index): (&str, &str, &str, u32)) -> Result<Resource, DecodeError> {
        let definition = self.checked(index, kind)?;
        Ok(Resource { group: group.into(), version: version.into(), kind: kind.into(), definition })
    }
}

fn scalar(word: &str) -> Option<Type> {
    Some(match word {
        "any" => Type::Any,
        "object" => Type::Object,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "time" => Type::Time,
        "micro-time" => Type::MicroTime,
        "boolean" => Type::Boolean,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "number" => Type::Number,
        "int-or-string" => Type::IntOrString,
        "quantity" => Type::Quantity,
        _ => return None,
    })
}
