import ConvNetExperiments
import Testing

@Suite struct ExperimentTests {}
