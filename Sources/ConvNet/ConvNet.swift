// Everything a program needs that describes, trains and runs networks, by one import.
@_exported public import ConvNetEngine
@_exported public import ConvNetFormats
@_exported public import ConvNetGraph
@_exported public import ConvNetTraining
